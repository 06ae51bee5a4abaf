import type { Delivery } from '../../broker/broker.js'
import type { TaskDefinition, TaskUpdate } from '../../task/definition.js'
import type { ErrorRecord, Outcome } from '../../task/outcome.js'

/** One execution as a pool gets it. */
export interface Job {
  readonly definition: TaskDefinition
  readonly delivery: Delivery
  /** Writes what the task says of itself to its row. */
  readonly update: (update: TaskUpdate) => Promise<void>
  /** Its signal is aborted to stop the body, and its reason says why. */
  readonly stop: Pick<AbortController, 'signal'>
}

/** Where bodies run. A pool is given at most as many jobs at one time as it has slots. */
export interface Pool {
  /** Makes the slots ready; rejects when they cannot be, for example because the app module cannot be imported. */
  start(): Promise<void>
  /** Runs the body to an end, whatever end that is. Never rejects. */
  run(job: Job): Promise<Outcome>
  /** Lets go of the slots. What still runs is ended where that is possible. */
  close(): Promise<void>
}

/** Celery's name and words for a task that its hard limit stopped. */
export const timeLimitExceeded = (seconds: number): ErrorRecord => ({
  type: 'TimeLimitExceeded',
  message: `the task ran longer than its time limit of ${seconds} s`,
  traceback: null,
})
