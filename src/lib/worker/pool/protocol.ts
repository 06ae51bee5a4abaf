import type { Delivery } from '../../broker/broker.js'
import type { TaskUpdate } from '../../task/definition.js'
import type { Outcome } from '../../task/outcome.js'

/** What a worker says to a child of its pool. JSON, over the channel that `fork` opens. */
export type ToChild =
  | { readonly kind: 'load'; readonly module: string; readonly sources: object }
  | { readonly kind: 'run'; readonly delivery: Delivery }
  | { readonly kind: 'stop'; readonly name: string; readonly message: string }
  /** `update`: the number of the update that this answers; `error`: why it was not written. */
  | { readonly kind: 'updated'; readonly update: number; readonly error: { readonly name: string; readonly message: string } | null }

/** What a child answers. It runs one task at a time, so only updates need a number: a body may have several under way. */
export type FromChild =
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed-to-load'; readonly message: string }
  | { readonly kind: 'update'; readonly n: number; readonly update: TaskUpdate }
  /** `rssKiB`: what the child holds of memory, by the operating system's account. */
  | { readonly kind: 'outcome'; readonly outcome: Outcome; readonly rssKiB: number }
