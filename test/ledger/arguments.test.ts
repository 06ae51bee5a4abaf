import assert from 'node:assert/strict'
import fc from 'fast-check'
import { Redaction } from '../../src/lib/ledger/arguments.js'
import { ConfigurationError } from '../../src/lib/task/errors.js'
import type { TaskMessage } from '../../src/lib/task/message.js'
import { aMessage } from '../helpers/rows.js'

const SECRET = 'the-secret'

/** What a published row holds of a message. */
function held(paths: readonly string[], message: Partial<TaskMessage>) {
  const { args, kwargs, options } = new Redaction(paths).stored(aMessage(message), true)
  return { args: JSON.parse(args), kwargs: JSON.parse(kwargs), options: JSON.parse(options) }
}

describe('a redacted path', () => {
  it('names a keyword argument, a positional one, or something inside either', () => {
    const message = {
      args: [{ card: SECRET, name: 'Ada' }, SECRET],
      kwargs: {
        token: SECRET,
        users: [
          { email: SECRET, id: 1 },
          { email: SECRET, id: 2 },
        ],
        map: { a: SECRET, b: SECRET },
      },
    }
    assert.deepEqual(held(['args[0].card', 'args[1]', 'kwargs.token', 'kwargs.users[*].email', 'kwargs.map.*'], message), {
      args: [{ card: '[redacted]', name: 'Ada' }, '[redacted]'],
      kwargs: {
        token: '[redacted]',
        users: [
          { email: '[redacted]', id: 1 },
          { email: '[redacted]', id: 2 },
        ],
        map: { a: '[redacted]', b: '[redacted]' },
      },
      options: { redacted: ['args[0].card', 'args[1]', 'kwargs.token', 'kwargs.users[*].email', 'kwargs.map.*'] },
    })
  })

  it('that an argument list does not have leaves it whole, and the row can be sent again', () => {
    assert.deepEqual(held(['kwargs.token', 'args[3]', 'args[0].card'], { args: ['plain'], kwargs: {} }), {
      args: ['plain'],
      kwargs: {},
      options: {},
    })
  })

  it('hides a null and an empty value too: there is nothing to be told from', () => {
    assert.deepEqual(held(['kwargs.*'], { kwargs: { a: null, b: '', c: [] } }).kwargs, {
      a: '[redacted]',
      b: '[redacted]',
      c: '[redacted]',
    })
  })

  it('keeps what the message was published with beside it', () => {
    const { options } = held(['args[0]'], { args: [SECRET], options: { headers: { trace: '1' } } })
    assert.deepEqual(options, { headers: { trace: '1' }, redacted: ['args[0]'] })
  })

  it("is looked for in the body of a chord of Celery's too", () => {
    const chord = { task: 'tsum', args: [SECRET, 2], kwargs: {}, options: {}, subtask_type: null, immutable: false }
    const { options } = held(['args[0]'], { args: [], options: { celery: { reply_to: 'r', chord } } })
    assert.deepEqual(options, { celery: { reply_to: 'r', chord: { ...chord, args: ['[redacted]', 2] } }, redacted: ['args[0]'] })
    const strange = { celery: { chord: { no: 'signature' } } }
    assert.deepEqual(held(['args[0]'], { args: [], options: strange }).options, strange)
  })

  it('is kept whole on a row that still waits to be sent', () => {
    const stored = new Redaction(['args[0]']).stored(aMessage({ args: [SECRET] }), false)
    assert.deepEqual(stored, { args: `["${SECRET}"]`, kwargs: '{"subject":"hello"}', options: '{}' })
  })

  it('hides a secret wherever it lies below it', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.constant(null), fc.string())), (steps) => {
        const buried = steps.reduceRight<unknown>((inner, step) => (step === null ? [inner] : { [step]: inner }), SECRET)
        const { args } = new Redaction(['args[0]']).stored(aMessage({ args: [buried as never] }), true)
        assert.ok(!args.includes(SECRET))
      }),
    )
  })

  it('is refused when it begins with neither args nor kwargs, or names nothing', () => {
    for (const path of ['token', 'kwargs', '', 'kwargs.', 'args[0]..x', 'Kwargs.token']) {
      assert.throws(
        () => new Redaction([path]),
        (error: Error) => {
          return (
            error instanceof ConfigurationError &&
            error.message === `redact: expected paths such as kwargs.token or args[0].card, got: ${path}`
          )
        },
      )
    }
  })
})
