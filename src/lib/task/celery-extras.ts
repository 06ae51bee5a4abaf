import type { JsonObject } from './json.js'

/** What a Celery client's message asks for, in Celery's words and form. */
export interface CeleryExtras {
  readonly shadow?: string
  /** The queue on which a client whose result backend is `rpc://` waits. */
  readonly reply_to?: string
  /** The body of the chord that the task's end counts in, by Celery's own count: the ledger has no group of it. */
  readonly chord?: JsonObject
  /** The id under which clients wait, where the task runs in the place of another. */
  readonly id?: string
}
