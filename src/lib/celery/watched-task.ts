import { isJsonObject, type Json } from '../task/json.js'
import type { ErrorRecord } from '../task/outcome.js'
import type { Moment } from './executions.js'
import { readRepr } from './repr.js'
import type { Setback } from './setbacks.js'

/** What events have told of one task. */
export interface WatchedTask {
  readonly id: string
  /** Null: nothing has told its name. */
  readonly task: string | null
  readonly args: Shown
  readonly kwargs: Shown
  /** Null: only whoever publishes tells it, and nobody did. */
  readonly queue: string | null
  readonly exchange: string
  readonly routingKey: string
  readonly rootId: string | null
  readonly parentId: string | null
  readonly status: 'PENDING' | 'RETRY' | 'STARTED' | 'SUCCESS' | 'FAILURE' | 'REVOKED'
  readonly retries: number
  readonly eta: number | null
  readonly expires: number | null
  readonly result: Shown | null
  readonly error: ErrorRecord | null
  /** Who received the message of the newest attempt last; null also once the task has ended. */
  readonly received: Moment | null
  /** Executions that did not end the task, in order. */
  readonly setbacks: readonly Setback[]
  /** Executions that have begun and not ended, in order. */
  readonly running: readonly Moment[]
  /** The worker that started it last, or ended it. */
  readonly host: string | null
  readonly submittedAt: number
  readonly startedAt: number | null
  /** Of the latest event. */
  readonly updatedAt: number
  readonly finishedAt: number | null
}

/**
 * Whether the worker that ended it has called its errbacks: those of what fails, unless it does not know the task, of which it shows no
 * traceback; never those of what is revoked or has expired.
 */
export const callsErrbacks = ({ status, error }: WatchedTask): boolean =>
  status === 'FAILURE' && !(error?.type === 'NotRegistered' && error.traceback === null)

/** A value that Celery showed. */
export interface Shown {
  /** The value; where the text does not tell it exactly, `{"repr": …}` with the text, which is null when there was none. */
  readonly json: string
  readonly exact: boolean
}

/** @param fits what the value has to be, besides readable */
export function shown(repr: string | null, fits: (value: Json) => boolean = () => true): Shown {
  const read = repr === null ? null : readRepr(repr)
  return read && fits(read.value) ? { json: JSON.stringify(read.value), exact: true } : { json: JSON.stringify({ repr }), exact: false }
}

export const shownArgs = (repr: string | null): Shown => shown(repr, Array.isArray)
export const shownKwargs = (repr: string | null): Shown => shown(repr, isJsonObject)
