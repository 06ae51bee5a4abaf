import type { CeleryExtras } from './celery-extras.js'
import type { Json, JsonObject } from './json.js'
import type { OnWorkerLost } from './options.js'
import type { Canvas } from './signature.js'

export type { CeleryExtras } from './celery-extras.js'

/** What a faithful re-send needs beyond the columns every query knows. */
export interface MessageOptions {
  readonly headers?: JsonObject
  readonly ignoreResult?: boolean
  /** Seconds the result is kept after the task ended; null: for ever. */
  readonly resultExpires?: number | null
  readonly acksLate?: boolean
  readonly onWorkerLost?: Exclude<OnWorkerLost, 'report'>
  /** Seconds; they win over the task's own. */
  readonly softTimeLimit?: number
  readonly timeLimit?: number
  /** The turn that a rate-limited task was given: it starts without asking again. */
  readonly turn?: number
  /** Sent with the result once the task has succeeded. */
  readonly link?: readonly Canvas[]
  /** Sent once the task has failed, expired or been revoked. */
  readonly linkError?: readonly Canvas[]
  /** What is left of the chain after this task, the next step first. */
  readonly chain?: readonly Canvas[]
  /** Epoch milliseconds from which on nothing of the task's workflow is started; what follows the task inherits it. */
  readonly deadline?: number
  /** What a Celery client asked for besides. */
  readonly celery?: CeleryExtras
  /** On the row of a task that never ran: the id of the task whose end ended it. */
  readonly settledBy?: string
  /** On the row of a task that nobody here published, and that was only watched: where. Celery's events change it, and nothing else does. */
  readonly watched?: string
}

/**
 * One execution of a task, as a broker carries it. Data only: it goes through JSON and comes back equal,
 * so an instant is epoch milliseconds.
 */
export interface TaskMessage {
  readonly id: string
  readonly task: string
  readonly args: readonly Json[]
  readonly kwargs: JsonObject
  readonly queue: string
  readonly exchange: string
  readonly routingKey: string
  /** 0 to 255; a higher number is delivered first. */
  readonly priority: number
  /** Not before this instant; null: at once. */
  readonly eta: number | null
  /** A worker that gets the message at or after this instant revokes it. */
  readonly expires: number | null
  /** How often this execution has been retried; 0 on the first run. */
  readonly retries: number
  /** The id of the task whose body published this one. */
  readonly parentId: string | null
  /** The id of the first task of this tree; its own id for a task published outside any task. */
  readonly rootId: string
  readonly groupId: string | null
  readonly groupIndex: number | null
  /** The id of the recorded task this one repeats. */
  readonly retryOf: string | null
  readonly periodicName: string | null
  readonly options: MessageOptions
  /** When the caller published it. */
  readonly submittedAt: number
}

/** Whether the end of the task means something to others: it is a part of a workflow. */
export function isPart({ options, groupId }: Pick<TaskMessage, 'options' | 'groupId'>): boolean {
  const { chain, link, linkError } = options
  return groupId !== null || chain !== undefined || link !== undefined || linkError !== undefined
}

/** Nothing of the task stays once it has ended: nobody asks for its result, and nothing else in the ledger leads to it. */
export function leavesNoRow(message: TaskMessage): boolean {
  return message.options.ignoreResult === true && message.retryOf === null && !isPart(message)
}
