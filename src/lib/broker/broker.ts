import type { Sql } from '../database/sql.js'
import type { TaskMessage } from '../task/message.js'

/** A message in a worker's hands, to ack or reject. */
export interface Delivery {
  readonly message: TaskMessage
  /**
   * How often this message has been handed out, this time included: 1 the first time. Null where the broker does not count.
   * Such a broker does not say either whether it has heard an ack, so it may deliver again what was acked.
   */
  readonly deliveries: number | null
  /** Until when the broker keeps it from others, in epoch milliseconds; `extend` moves it. */
  readonly leaseUntil: number
  /** The broker's own mark. A delivery that has meanwhile gone to somebody else no longer matches it. */
  readonly tag: string
  /** Why no worker can run the message, of which `message` is then what could be read. */
  readonly fault?: string
}

/** What is done with messages, apart from receiving them. */
export interface Postings {
  /**
   * Hands messages over. Once it resolves they are stored: a crash of the broker or of this process does not lose
   * them. A message with an eta is delivered at or after it, or at once where the broker cannot hold it: its receiver does.
   */
  publish(messages: readonly TaskMessage[]): Promise<void>
  /** The message is done and gone. False: it was not this delivery's any more, and nothing happened. */
  ack(delivery: Delivery): Promise<boolean>
  /** `ack` of many, each once. */
  ackAll(deliveries: readonly Delivery[]): Promise<readonly boolean[]>
  /** Gives the message up: back to the front of its priority for anybody at once, or gone. False: as for `ack`. */
  reject(delivery: Delivery, options: { readonly requeue: boolean }): Promise<boolean>
  /** Keeps these messages from others until `leaseUntil`. Those that are no longer ours are passed over. */
  extend(deliveries: readonly Delivery[], leaseUntil: number): Promise<void>
  /**
   * No message of these tasks is delivered any more: those that wait are gone, and whoever holds one has lost it. Nothing
   * happens where the broker cannot find them.
   */
  drop(taskIds: readonly string[]): Promise<void>
}

/**
 * What is done with claimed messages in the very commit that claims them. Answers those that are acked by that; the others are held.
 * It may be called once more for one claim: then what it did is undone.
 */
export type Taking = (sql: Sql, claimed: readonly Delivery[]) => Promise<ReadonlySet<Delivery>>

/**
 * What carries messages. Its promises:
 *
 * - A published message is delivered to exactly one holder at a time, until it is acked or rejected without requeue.
 * - A holder that neither acks nor extends within its lease loses the message: it is delivered again, and
 *   `deliveries` says so.
 * - Higher priority first, where the queue knows priorities; within one priority, first published first delivered.
 * - `ack`, `reject` and `extend` of a delivery that was lost do nothing.
 */
export interface Broker extends Postings {
  /**
   * Present when messages live in the ledger's own database: the same verbs as part of a commit, so that a row
   * and its message are written, or not, together.
   */
  readonly within: ((sql: Sql) => Postings) | null
  /**
   * At most `limit` messages of the queues, at once; none when none is ready.
   *
   * @param taking for a broker that has `within`
   */
  receive(queues: readonly string[], limit: number, leaseMs: number, taking?: Taking): Promise<Delivery[]>
  /** Resolves when a message may be ready, after `timeoutMs` at the latest, or when aborted. */
  wait(queues: readonly string[], timeoutMs: number, signal: AbortSignal): Promise<void>
  /** Nobody here takes from these queues for now: what was fetched ahead goes back. What was received stays as it is. */
  leave(queues: readonly string[]): Promise<void>
  /** Whether a message of this task is still waiting or in a worker's hands; null where the broker cannot tell. */
  has(taskId: string): Promise<boolean | null>
  close(): Promise<void>
}
