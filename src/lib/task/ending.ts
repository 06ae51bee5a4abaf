import type { RetryChanges } from './outcome.js'
import type { Canvas } from './signature.js'

/** Thrown by `task.retry()`; ends the execution without failing it. */
export class Retry extends Error {
  override readonly name = 'Retry'
  constructor(
    readonly eta: number,
    override readonly cause: unknown,
    readonly changes: RetryChanges = {},
  ) {
    super('the task asked to be retried')
  }
}

/** Thrown by `task.replace()`; ends the execution, and something else runs in its place. */
export class Replace extends Error {
  override readonly name = 'Replace'
  constructor(
    /** Frozen. */
    readonly canvas: Canvas,
    /** The task that has the result this one would have had. */
    readonly id: string,
  ) {
    super('the task had itself replaced')
  }
}

/** Thrown by a task that wants no result kept and nothing to follow: its row becomes IGNORED. */
export class Ignore extends Error {
  override readonly name = 'Ignore'
}

/** Thrown by a task that will not have its message: its row becomes FAILURE, or, with `requeue`, it runs again. */
export class Reject extends Error {
  override readonly name = 'Reject'
  readonly requeue: boolean
  constructor(reason = 'the task rejected its message', { requeue = false }: { readonly requeue?: boolean } = {}) {
    super(reason)
    this.requeue = requeue
  }
}

/** The reason of `task.signal` once the soft time limit has passed. */
export class SoftTimeLimitExceeded extends Error {
  override readonly name = 'SoftTimeLimitExceeded'
  constructor(seconds: number) {
    super(`the task ran longer than its soft time limit of ${seconds} s`)
  }
}

/** The reason of `task.signal` once the task is revoked with `terminate`. */
export class TaskRevokedError extends Error {
  override readonly name = 'TaskRevokedError'
}
