import type { Json, JsonObject } from './json.js'

/** What a faithful re-send needs beyond the columns every query knows. */
export interface MessageOptions {
  readonly headers?: JsonObject
  readonly ignoreResult?: boolean
  /** Seconds the result is kept after the task ended; null: for ever. */
  readonly resultExpires?: number | null
  readonly acksLate?: boolean
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
