import assert from 'node:assert/strict'
import fc from 'fast-check'
import { Retry } from '../../src/lib/task/ending.js'
import type { Outcome } from '../../src/lib/task/outcome.js'
import { backoffSeconds, DEFAULT_RETRY_POLICY, outcomeOfError, type RetryPolicy, retryEta } from '../../src/lib/task/retry-policy.js'

const NOW = 1_000_000
const LARGEST = 1 - 2 ** -53

class FetchError extends Error {}
class NotFound extends FetchError {}

const policy = (given: Partial<RetryPolicy>): RetryPolicy => ({ ...DEFAULT_RETRY_POLICY, ...given })

/** Seconds until the retry that an outcome asks for; null when it asks for none. */
const delayOf = (outcome: Outcome): number | null => (outcome.kind === 'retrying' ? (outcome.eta - NOW) / 1000 : null)

/** The delays after the first failures of a task that always throws. */
const delays = (given: Partial<RetryPolicy>, count: number, random = 0.5): (number | null)[] =>
  Array.from({ length: count }, (_, retries) =>
    delayOf(outcomeOfError(new FetchError('no'), policy({ autoretryFor: [FetchError], ...given }), retries, NOW, random)),
  )

/** The formula in other words: a whole factor of at least one, doubled for each retry made, never beyond the most. */
function stated(backoff: boolean | number, most: number, retries: number): number {
  let seconds = backoff === true ? 1 : Math.floor(Math.max(1, Number(backoff)))
  for (let i = 0; i < retries && seconds < most; i++) seconds += seconds
  return Math.min(seconds, most)
}

const backoffs = fc.oneof(fc.constant(true), fc.double({ min: 0.01, max: 1000, noNaN: true }))
const most = fc.nat({ max: 100_000 })
const retriesMade = fc.nat({ max: 2000 })

describe('the backoff before a retry', () => {
  it('is 1, 2, 4, 8 … seconds and never more than 600 by default', () => {
    const found = delays({ retryBackoff: true, retryJitter: false, maxRetries: null }, 12)
    assert.deepEqual(found, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600])
  })

  it('is multiplied by a whole factor, and one below 2 counts as 1', () => {
    const first = (retryBackoff: number) => delays({ retryBackoff, retryJitter: false }, 3)
    assert.deepEqual([3, 3.9, 0.5, 1, 1.9].map(first), [
      [3, 6, 12],
      [3, 6, 12],
      [1, 2, 4],
      [1, 2, 4],
      [1, 2, 4],
    ])
  })

  it('follows the formula for every factor, bound and count, far beyond what a number can hold', () => {
    fc.assert(
      fc.property(backoffs, most, retriesMade, (retryBackoff, retryBackoffMax, retries) => {
        const found = backoffSeconds(policy({ retryBackoff, retryBackoffMax, retryJitter: false }), retries, 0.5)
        assert.equal(found, stated(retryBackoff, retryBackoffMax, retries))
      }),
    )
  })

  it('is a whole number from 0 to the backoff with jitter, and both ends are reached', () => {
    const chance = fc.double({ min: 0, max: LARGEST, noNaN: true })
    fc.assert(
      fc.property(backoffs, most, retriesMade, chance, (retryBackoff, retryBackoffMax, retries, random) => {
        const jittered = (at: number) => backoffSeconds(policy({ retryBackoff, retryBackoffMax, retryJitter: true }), retries, at)
        const found = jittered(random)
        const base = stated(retryBackoff, retryBackoffMax, retries)
        assert.ok(Number.isInteger(found) && found >= 0 && found <= base, `${found} of ${base}`)
        assert.equal(jittered(0), 0)
        assert.equal(jittered(LARGEST), base)
      }),
    )
  })

  it('gives each whole second of the jitter the same share of chance', () => {
    const eight = policy({ retryBackoff: 8, retryJitter: true })
    const found = Array.from({ length: 9 }, (_, k) => backoffSeconds(eight, 0, (k + 0.5) / 9))
    assert.deepEqual(found, [0, 1, 2, 3, 4, 5, 6, 7, 8])
  })

  it('is the default delay of 180 seconds for an autoretry without backoff', () => {
    assert.deepEqual(delays({ retryBackoff: false }, 3), [180, 180, 180])
    assert.deepEqual(delays({ retryBackoff: false, defaultRetryDelay: 5 }, 1), [5])
  })
})

describe('an error of a task', () => {
  const outcome = (thrown: unknown, given: Partial<RetryPolicy> = {}, retries = 0) =>
    outcomeOfError(thrown, policy(given), retries, NOW, 0.5)

  it('fails the task when it is not in autoretryFor', () => {
    assert.equal(outcome(new FetchError('no')).kind, 'failed')
    assert.equal(outcome(new Error('no'), { autoretryFor: [FetchError] }).kind, 'failed')
  })

  it('retries it for a class of autoretryFor and what extends it', () => {
    assert.equal(outcome(new NotFound('no'), { autoretryFor: [FetchError] }).kind, 'retrying')
  })

  it('fails it at once when dontAutoretryFor matches too', () => {
    const given = { autoretryFor: [FetchError], dontAutoretryFor: [NotFound] }
    assert.equal(outcome(new NotFound('no'), given).kind, 'failed')
    assert.equal(outcome(new FetchError('no'), given).kind, 'retrying')
  })

  it('fails it, as itself, once no retry is left', () => {
    const given = { autoretryFor: [FetchError], maxRetries: 2 }
    const kinds = [0, 1, 2, 3].map((retries) => outcome(new FetchError('no'), given, retries).kind)
    assert.deepEqual(kinds, ['retrying', 'retrying', 'failed', 'failed'])
    const last = outcome(new FetchError('no'), given, 2)
    assert.ok(last.kind === 'failed' && last.error.message === 'no')
  })

  it('is retried without end when maxRetries is null', () => {
    assert.equal(outcome(new FetchError('no'), { autoretryFor: [FetchError], maxRetries: null }, 1_000_000).kind, 'retrying')
  })

  it('is marked as expected when throws names it, and fails the task all the same', () => {
    const [expected, other] = [new NotFound('no'), new Error('no')].map((thrown) => outcome(thrown, { throws: [FetchError] }))
    assert.ok(expected?.kind === 'failed' && expected.expected)
    assert.ok(other?.kind === 'failed' && !other.expected)
  })

  it('may be anything that can be thrown', () => {
    for (const thrown of [undefined, null, 'text', 0, {}]) assert.equal(outcome(thrown, { autoretryFor: [Error] }).kind, 'failed')
  })

  it('is a retry when the task asked for one, whatever the policy says', () => {
    const asked = outcome(new Retry(NOW + 7, new FetchError('no')), { maxRetries: 0, dontAutoretryFor: [Error] })
    assert.ok(asked.kind === 'retrying' && asked.eta === NOW + 7 && asked.error?.message === 'no')
    const without = outcome(new Retry(NOW, undefined))
    assert.ok(without.kind === 'retrying' && without.error === null)
  })
})

describe('the time of a retry a task asks for', () => {
  const eta = (given: Partial<RetryPolicy>, retries: number, options = {}) => retryEta(policy(given), retries, options, NOW)

  it('is the default delay from now when it names none', () => {
    assert.equal(eta({}, 0), NOW + 180_000)
    assert.equal(eta({ defaultRetryDelay: 2 }, 0), NOW + 2000)
  })

  it('is its countdown, and a countdown of 0 is now', () => {
    assert.equal(eta({}, 0, { countdown: 0.2 }), NOW + 200)
    assert.equal(eta({}, 0, { countdown: 0 }), NOW)
  })

  it('is its eta', () => {
    assert.equal(eta({}, 0, { eta: new Date(NOW + 5) }), NOW + 5)
  })

  it('is not there once maxRetries retries were made', () => {
    assert.deepEqual(
      [0, 1, 2, 3].map((retries) => eta({ maxRetries: 2 }, retries, { countdown: 0 })),
      [NOW, NOW, null, null],
    )
    assert.equal(eta({ maxRetries: 0 }, 0), null)
    assert.equal(eta({ maxRetries: null }, 1_000_000, { countdown: 0 }), NOW)
  })

  it('counts by the limit of the call when it gives one', () => {
    assert.equal(eta({ maxRetries: 0 }, 4, { countdown: 0, maxRetries: 5 }), NOW)
    assert.equal(eta({ maxRetries: null }, 1, { countdown: 0, maxRetries: 1 }), null)
  })
})
