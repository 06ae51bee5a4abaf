import assert from 'node:assert/strict'
import fc from 'fast-check'
import { errorRecord } from '../../src/lib/task/outcome.js'

const UNREADABLE = '(the value could not be turned into text)'

const withGetter = (property: string): Error =>
  Object.defineProperty(new Error('plain'), property, {
    get: () => {
      throw new Error('no')
    },
  })

describe('the record of an error', () => {
  it('has its name, its message and its whole stack', () => {
    const error = new TypeError('expected a number')
    assert.deepEqual(errorRecord(error), { type: 'TypeError', message: 'expected a number', traceback: error.stack })
  })

  it('has the stacks of its causes, down to one that is no error', () => {
    const root = new Error('disk full', { cause: 'ENOSPC' })
    const { traceback } = errorRecord(new Error('upload failed', { cause: root }))
    assert.match(traceback ?? '', /^Error: upload failed\n.*\nCaused by: Error: disk full\n.*\nCaused by: ENOSPC$/s)
  })

  it('ends where causes go in a circle', () => {
    const error = new Error('snake')
    error.cause = error
    const { traceback } = errorRecord(error)
    assert.ok((traceback?.match(/Caused by/g)?.length ?? 0) < 20)
  })

  it('says of what is no error what it was', () => {
    const texts = ['text', null, undefined, 0, 1n, Symbol('s'), { toString: () => 'mine' }].map((thrown) => errorRecord(thrown))
    assert.deepEqual(
      texts.map(({ message }) => message),
      ['text', 'null', 'undefined', '0', '1', 'Symbol(s)', 'mine'],
    )
    for (const { type, traceback } of texts) assert.deepEqual([type, traceback], ['Error', null])
  })

  it('is made even of a value that throws when it is read', () => {
    assert.equal(errorRecord(Object.create(null)).message, UNREADABLE)
    assert.equal(errorRecord(withGetter('message')).message, UNREADABLE)
    assert.equal(errorRecord(withGetter('name')).type, UNREADABLE)
    assert.equal(errorRecord(withGetter('stack')).traceback, UNREADABLE)
    assert.match(errorRecord(withGetter('cause')).traceback ?? '', /^Error: plain/)
  })

  it('is made of anything at all', () => {
    fc.assert(
      fc.property(fc.anything({ withNullPrototype: true, withBigInt: true, withDate: true, withMap: true }), (thrown) => {
        const { type, message } = errorRecord(thrown)
        assert.equal(typeof type, 'string')
        assert.equal(typeof message, 'string')
      }),
    )
  })

  it('cuts a text of a million characters and says so', () => {
    const error = new Error('x'.repeat(1_000_000))
    for (const { message, traceback } of [errorRecord(error), errorRecord('x'.repeat(1_000_000))]) {
      assert.equal(message.slice(256 * 1024), '\n… 737856 more characters left out')
      assert.ok((traceback?.length ?? 0) < 300_000)
    }
  })
})
