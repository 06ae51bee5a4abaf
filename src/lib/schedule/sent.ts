import { UnavailableError } from '../task/errors.js'

/** What became of one row that was due. */
export interface Sent {
  readonly taskId: string
  readonly task: string
  /** The task that runs: a new one for a scheduled task, the same for a retry. Null when none was sent. */
  readonly newTaskId: string | null
  readonly eta: Date | null
  readonly outcome: 'sent' | 'expired' | 'failed'
  /** Why it could not be sent. */
  readonly error: string | null
}

/** What became of the rows of one kind that were taken at one time. */
export interface Taken {
  readonly sent: readonly Sent[]
  /** How many rows there were. As many as were asked for: there may be more. */
  readonly found: number
  /** Why the broker takes nothing at present; null: nothing is known against it. */
  readonly away: UnavailableError | null
}

export const expired = (taskId: string, task: string, eta: Date | null): Sent => ({
  taskId,
  task,
  eta,
  newTaskId: null,
  outcome: 'expired',
  error: null,
})

/** Among what became of messages, that the broker could not be reached: no fault of theirs. */
export function awayAmong(failures: Iterable<unknown>): UnavailableError | null {
  for (const failure of failures) if (failure instanceof UnavailableError) return failure
  return null
}
