import type { Delivery } from '../../broker/broker.js'
import type { TaskUpdate } from '../../task/definition.js'
import type { Json } from '../../task/json.js'
import type { Outcome } from '../../task/outcome.js'

/** What a worker says to a child of its pool. JSON, over the channel that `fork` opens. */
export type ToChild =
  /** `weigh`: whether each outcome is to tell how much memory the child holds; asking for it takes as long as a short task. */
  | { readonly kind: 'load'; readonly module: string; readonly sources: object; readonly weigh: boolean }
  | { readonly kind: 'run'; readonly delivery: Delivery }
  | { readonly kind: 'stop'; readonly name: string; readonly message: string }
  /** `update`: the number of the update that this answers; `error`: why it was not written. */
  | { readonly kind: 'updated'; readonly update: number; readonly error: { readonly name: string; readonly message: string } | null }

/** What a child answers. It runs one task at a time, so only updates need a number: a body may have several under way. */
export type FromChild =
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed-to-load'; readonly message: string }
  | { readonly kind: 'update'; readonly n: number; readonly update: TaskUpdate }
  /** `rssKiB`: what the child holds of memory, by the operating system's account; null when nobody asked. */
  | { readonly kind: 'outcome'; readonly outcome: Sent; readonly rssKiB: number | null }

/** An outcome on its way: a result goes as its JSON text alone, for it is the larger part of what a task says. */
type Sent = Exclude<Outcome, Succeeded> | Omit<Succeeded, 'result'>

type Succeeded = Extract<Outcome, { readonly kind: 'succeeded' }>

export function sent(outcome: Outcome): Sent {
  if (outcome.kind !== 'succeeded') return outcome
  const { result: _, ...rest } = outcome
  return rest
}

export const received = (outcome: Sent): Outcome =>
  outcome.kind === 'succeeded' ? { ...outcome, result: outcome.text === null ? null : (JSON.parse(outcome.text) as Json) } : outcome
