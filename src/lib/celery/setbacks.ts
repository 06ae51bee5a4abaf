import type { ErrorRecord } from '../task/outcome.js'
import { CANCELLED, errorOf, REJECTED } from './error.js'
import type { TaskEvent } from './events.js'
import type { Moment } from './executions.js'

/** An execution that did not end its task: when its worker told so. */
export interface Setback extends Moment {
  readonly kind: 'retry' | 'rejected' | 'lost'
}

/** With the reason. */
export interface ToldSetback extends Setback {
  readonly error: ErrorRecord
}

/** What an event tells of the kind; null: nothing. */
function setbackOf(event: TaskEvent): ToldSetback | null {
  const { at, host } = event
  if (event.kind === 'retried') return { kind: 'retry', at, host, error: errorOf(event.exception, event.traceback) }
  if (event.kind === 'rejected' && event.requeue) return { kind: 'rejected', at, host, error: REJECTED }
  return event.kind === 'cancelled' ? { kind: 'lost', at, host, error: CANCELLED } : null
}

/** The executions that these events say did not end their task, in order. */
export function setbacksIn(events: readonly TaskEvent[]): ToldSetback[] {
  const found = events.map(setbackOf).filter((setback) => setback !== null)
  return found.sort((a, b) => a.at - b.at)
}

/** Whether they are the same, told twice. */
export const isSameSetback = (a: Setback, b: Setback): boolean => a.kind === b.kind && a.at === b.at && a.host === b.host
