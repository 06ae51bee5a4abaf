import assert from 'node:assert/strict'
import fc from 'fast-check'
import { formatDurationMs, LONGEST_DURATION_MS, parseDurationMs } from '../../src/lib/task/duration.js'
import { UsageError } from '../../src/lib/task/errors.js'

describe('a duration', () => {
  it('is read in any unit and in several, the largest first', () => {
    const read = ['250ms', '90s', '15m', '1h30m', '7d', '1w2d', '0s', '1w1d1h1m1s1ms'].map(parseDurationMs)
    assert.deepEqual(read, [250, 90_000, 900_000, 5_400_000, 604_800_000, 777_600_000, 0, 694_861_001])
  })

  it('is read back as it was written', () => {
    fc.assert(fc.property(fc.nat({ max: LONGEST_DURATION_MS }), (ms) => parseDurationMs(formatDurationMs(ms)) === ms))
  })

  it('is written with days as its largest unit and nothing as 0s', () => {
    assert.deepEqual([0, 5_400_000, 1_209_600_000, 1.5].map(formatDurationMs), ['0s', '1h30m', '14d', '1ms'])
  })

  it('refuses every other text with what it expected and what came', () => {
    for (const text of ['', '1', '-1h', '1.5h', '1h 30m', '30m1h', '1h1h', 'h', '1y', ' 1h', '1h\n', '1H'])
      assert.throws(() => parseDurationMs(text), new UsageError(`expected a duration like 90s, 15m, 1h30m or 7d, got: ${text}`))
  })

  it('never comes out below zero, fractional or not a number, whatever the text', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[0-9wdhms.]{0,12}$/), (text) => {
        try {
          const ms = parseDurationMs(text)
          return Number.isSafeInteger(ms) && ms >= 0
        } catch (error) {
          return error instanceof UsageError
        }
      }),
    )
  })

  it('is at most a thousand years', () => {
    assert.equal(parseDurationMs('365000d'), LONGEST_DURATION_MS)
    assert.throws(() => parseDurationMs('365001d'), UsageError)
    assert.throws(() => parseDurationMs(`${'9'.repeat(400)}s`), UsageError)
  })
})
