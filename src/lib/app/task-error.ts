import type { Ended } from '../ledger/standing.js'

/** The task did not end within the time the caller gave; it goes on. */
export class TimeoutError extends Error {
  override readonly name = 'TimeoutError'
}

/** What `get()` throws for a task that failed or was revoked. Its `name` and `message` are the task's own error's. */
export class TaskError extends Error {
  constructor(
    readonly taskId: string,
    readonly status: string,
    errorType: string | null,
    errorMessage: string | null,
    /** The stack where the task ran; null when no code of the task was involved. */
    readonly traceback: string | null,
  ) {
    super(errorMessage ?? '')
    this.name = errorType ?? 'Error'
  }
}

/** The error of a task that ended so; null for one that did not end badly. */
export function errorOf({ taskId, status, errorType, errorMessage, traceback }: Ended): TaskError | null {
  const bad = status === 'FAILURE' || status === 'REVOKED'
  return bad ? new TaskError(taskId, status, errorType, errorMessage, traceback) : null
}
