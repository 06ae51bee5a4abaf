import { Ignore, Reject, Replace, Retry, TaskRevokedError } from './ending.js'
import { errorRecord, type Outcome, type RetryChanges } from './outcome.js'

// biome-ignore lint/suspicious/noExplicitAny: a class is matched by instanceof only; what it is constructed with does not matter
export type ErrorClass = abstract new (...args: any[]) => Error

/** When a task runs again after an error. Names, units and defaults are Celery's (celery/app/task.py, app/autoretry.py). */
export interface RetryPolicy {
  /** Retries after the first run; 0: the task runs once; null: without limit. */
  readonly maxRetries: number | null
  /** Seconds before a retry that names no countdown of its own. */
  readonly defaultRetryDelay: number
  readonly autoretryFor: readonly ErrorClass[]
  /** Wins over `autoretryFor`. */
  readonly dontAutoretryFor: readonly ErrorClass[]
  /** True: 1, 2, 4, 8 … seconds; a number multiplies them; false: `defaultRetryDelay`. */
  readonly retryBackoff: boolean | number
  /** Seconds no backoff goes beyond. */
  readonly retryBackoffMax: number
  /** Chooses a whole number of seconds from 0 to the backoff, both included. */
  readonly retryJitter: boolean
  /** Errors that are part of normal business: the task fails, and the log is spared the stack. */
  readonly throws: readonly ErrorClass[]
}

export const DEFAULT_RETRY_POLICY: RetryPolicy = {
  maxRetries: 3,
  defaultRetryDelay: 180,
  autoretryFor: [],
  dontAutoretryFor: [],
  retryBackoff: false,
  retryBackoffMax: 600,
  retryJitter: true,
  throws: [],
}

/** What `task.retry()` takes. */
export interface RetryOptions extends RetryChanges {
  /** Why; it is what the task fails with once no retry is left. */
  readonly error?: unknown
  /** Seconds to wait. Default: the task's `defaultRetryDelay`. 0: at once. */
  readonly countdown?: number
  readonly eta?: Date
  /** Replaces the task's limit for this call. */
  readonly maxRetries?: number
}

/** A task that asked for one retry more than its `maxRetries`, and gave no error of its own. */
export class MaxRetriesExceededError extends Error {
  override readonly name = 'MaxRetriesExceededError'
}

/**
 * Seconds before retry number `retries + 1` when `retryBackoff` is on.
 *
 * Without jitter and with `true`: 1, 2, 4, 8 … up to `retryBackoffMax`. A factor below 1 counts as 1 and a
 * fraction is dropped, as in Celery (`get_exponential_backoff_interval`).
 *
 * @param retries retries already made: 0 when the first run has just failed
 * @param random in [0, 1); passed in so that a test can fix it
 */
export function backoffSeconds(policy: RetryPolicy, retries: number, random: number): number {
  const factor = Math.trunc(Math.max(1, Number(policy.retryBackoff)))
  const ceiling = Math.max(0, Math.min(policy.retryBackoffMax, factor * 2 ** retries))
  return policy.retryJitter ? Math.floor(random * (Math.floor(ceiling) + 1)) : ceiling
}

const matches = (thrown: unknown, classes: readonly ErrorClass[]): boolean => classes.some((known) => thrown instanceof known)

const mayRetry = (policy: Pick<RetryPolicy, 'maxRetries'>, retries: number): boolean =>
  policy.maxRetries === null || retries < policy.maxRetries

/** When the retry that `options` ask for is due, or null when none is left. */
export function retryEta(policy: RetryPolicy, retries: number, options: RetryOptions, nowMs: number): number | null {
  const limit = options.maxRetries ?? policy.maxRetries
  if (!mayRetry({ maxRetries: limit }, retries)) return null
  return options.eta?.getTime() ?? Math.ceil(nowMs + (options.countdown ?? policy.defaultRetryDelay) * 1000)
}

/** How an execution that threw has ended. Decides only; the order of the questions is Celery's autoretry. */
export function outcomeOfError(thrown: unknown, policy: RetryPolicy, retries: number, nowMs: number, random: number): Outcome {
  if (thrown instanceof Retry) {
    return {
      kind: 'retrying',
      eta: thrown.eta,
      error: thrown.cause === undefined ? null : errorRecord(thrown.cause),
      changes: thrown.changes,
    }
  }
  if (thrown instanceof Replace) return { kind: 'replaced', canvas: thrown.canvas, id: thrown.id }
  if (thrown instanceof Ignore) return { kind: 'ignored' }
  if (thrown instanceof Reject) return { kind: 'rejected', requeue: thrown.requeue, error: errorRecord(thrown) }
  if (thrown instanceof TaskRevokedError) return { kind: 'revoked', reason: thrown.message }
  const error = errorRecord(thrown)
  const auto = matches(thrown, policy.autoretryFor) && !matches(thrown, policy.dontAutoretryFor)
  if (!auto || !mayRetry(policy, retries)) return { kind: 'failed', error, expected: matches(thrown, policy.throws) }
  const delay = policy.retryBackoff ? backoffSeconds(policy, retries, random) : policy.defaultRetryDelay
  return { kind: 'retrying', eta: Math.ceil(nowMs + delay * 1000), error, changes: {} }
}
