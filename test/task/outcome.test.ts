import assert from 'node:assert/strict'
import { runInNewContext } from 'node:vm'
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

  it('has the stacks of the errors that an AggregateError is made of, each with its causes', async () => {
    const first = new RangeError('too far', { cause: new Error('no map') })
    const thrown = await Promise.any([Promise.reject(first), Promise.reject('text')]).catch((error) => error)
    thrown.cause = 'the weather'
    const { type, traceback } = errorRecord(thrown)
    assert.equal(type, 'AggregateError')
    assert.deepEqual(
      traceback?.split('\n').filter((line) => !line.startsWith('    at ')),
      [
        'AggregateError: All promises were rejected',
        'Caused by: the weather',
        'Error 1 of 2: RangeError: too far',
        'Caused by: Error: no map',
        'Error 2 of 2: text',
      ],
    )
  })

  it('tells of twenty errors at most, and says that it left some out', () => {
    const many = new AggregateError(Array.from({ length: 100 }, (_, i) => new Error(`no ${i}`)))
    many.errors.push(many) // it is among its own
    const { traceback } = errorRecord(new AggregateError([many, many, new Error('last')]))
    assert.equal(traceback?.match(/^(Error \d+ of \d+: .*|AggregateError.*)$/gm)?.length, 20)
    assert.match(traceback ?? '', /\nError 18 of 101: Error: no 17\n[^…]*\n… more errors left out$/)
  })

  it('takes no other list of errors for an AggregateError', () => {
    const invalid = Object.assign(new Error('invalid'), { errors: [{ field: 'name' }] })
    assert.equal(errorRecord(invalid).traceback, invalid.stack)
  })

  it('is as whole for an error of another realm, which is no instance of Error here', () => {
    const thrown: Error = runInNewContext("new RangeError('too far', { cause: new AggregateError([new TypeError('inner')], 'some') })")
    assert.equal(thrown instanceof Error, false)
    const { type, message, traceback } = errorRecord(thrown)
    assert.deepEqual([type, message], ['RangeError', 'too far'])
    const expected = /^RangeError: too far\n +at .*\nCaused by: AggregateError: some\n +at .*\nError 1 of 1: TypeError: inner\n +at /s
    assert.match(traceback ?? '', expected)
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
    for (const property of ['cause', 'errors']) assert.match(errorRecord(withGetter(property)).traceback ?? '', /^Error: plain/)
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
