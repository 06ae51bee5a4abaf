import assert from 'node:assert/strict'
import type { Outcome } from '../../src/lib/task/outcome.js'
import { received, sent } from '../../src/lib/worker/pool/protocol.js'

/** As the channel between a worker and its child carries it. */
const carried = (outcome: Outcome): string => JSON.stringify(sent(outcome))

describe('an outcome on its way from a child to its worker', () => {
  const error = { type: 'Error', message: 'no', traceback: null }
  const outcomes: readonly Outcome[] = [
    { kind: 'succeeded', result: null, text: null },
    { kind: 'succeeded', result: [1, { a: 'b' }], text: '[1,{"a":"b"}]' },
    { kind: 'retrying', eta: 1, error, changes: { args: [1] } },
    { kind: 'failed', error, expected: true },
    { kind: 'ignored' },
  ]
  for (const outcome of outcomes) {
    it(`arrives as it was: ${JSON.stringify(outcome)}`, () => {
      assert.deepEqual(received(JSON.parse(carried(outcome))), outcome)
    })
  }

  it('carries a result once', () => {
    const result = 'x'.repeat(1000)
    assert.ok(carried({ kind: 'succeeded', result, text: JSON.stringify(result) }).length < 1100)
  })
})
