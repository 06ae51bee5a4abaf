import { types } from 'node:util'
import type { Json, JsonObject } from './json.js'
import type { Canvas } from './signature.js'

/** An error as the ledger keeps it. */
export interface ErrorRecord {
  /** The error's name, for example `TypeError`. */
  readonly type: string
  readonly message: string
  /** The whole stack with its causes; null when no code of the task was involved. */
  readonly traceback: string | null
}

/** What a retry changes of the message it sends again. */
export interface RetryChanges {
  readonly args?: readonly Json[]
  readonly kwargs?: JsonObject
  readonly queue?: string
  readonly priority?: number
}

/** The ways one execution can end. */
export type Outcome =
  /** `text` is the result's JSON; null for a null result. `added`: what the task added to the group it counts in. */
  | { readonly kind: 'succeeded'; readonly result: Json; readonly text: string | null; readonly added?: readonly Canvas[] }
  /** `canvas`, which is frozen, runs in the task's place; `id` is the task that has the result the task would have had. */
  | { readonly kind: 'replaced'; readonly canvas: Canvas; readonly id: string; readonly added?: readonly Canvas[] }
  | { readonly kind: 'retrying'; readonly eta: number; readonly error: ErrorRecord | null; readonly changes: RetryChanges }
  | { readonly kind: 'failed'; readonly error: ErrorRecord; readonly expected: boolean }
  | { readonly kind: 'ignored' }
  | { readonly kind: 'rejected'; readonly requeue: boolean; readonly error: ErrorRecord }
  | { readonly kind: 'revoked'; readonly reason: string }
  /** Stopped by its hard time limit. */
  | { readonly kind: 'timed-out'; readonly error: ErrorRecord }
  /** The process it ran in is gone. */
  | { readonly kind: 'lost'; readonly error: ErrorRecord }

/** A stack longer than this is cut, and says so. */
const MAX_TRACEBACK = 256 * 1024

/** The characters of an error's name that are kept: it is looked for, so it is in an index. */
const MAX_NAME = 255

/** How many errors a stack tells of: the one thrown, its causes, and those it is made of. */
const MAX_STACKS = 20

function cut(text: string): string {
  return text.length <= MAX_TRACEBACK ? text : `${text.slice(0, MAX_TRACEBACK)}\n… ${text.length - MAX_TRACEBACK} more characters left out`
}

/** `String(value)` for a value whose own conversion may throw. */
function textOf(read: () => unknown): string {
  try {
    return String(read())
  } catch {
    return '(the value could not be turned into text)'
  }
}

/** By its kind too: an error of another realm, as of a `vm` context, is no instance of this realm's class. */
const isError = (value: unknown): value is Error => value instanceof Error || types.isNativeError(value)

/** The stack of an error, those of its causes and, of an AggregateError, those of the errors it is made of. */
function stackOf(error: Error): string {
  const stacks: string[] = []
  const told = new Set<Error>()
  let cutShort = false
  const tell = (label: string, thrown: unknown): void => {
    if (isError(thrown) && told.has(thrown)) return // causes may go in a circle
    if (stacks.length === MAX_STACKS) {
      cutShort = true
      return
    }
    if (!isError(thrown)) {
      stacks.push(`${label}${textOf(() => thrown)}`)
      return
    }
    told.add(thrown)
    stacks.push(`${label}${textOf(() => thrown.stack ?? `${thrown.name}: ${thrown.message}`)}`)
    const cause = propertyOf(thrown, 'cause')
    if (cause !== undefined) tell('Caused by: ', cause)
    const inner = propertyOf(thrown, 'errors')
    if (!isAggregate(thrown) || !Array.isArray(inner)) return
    for (const [i, one] of inner.entries()) tell(`Error ${i + 1} of ${inner.length}: `, one)
  }
  tell('', error)
  return `${stacks.join('\n')}${cutShort ? '\n… more errors left out' : ''}`
}

const isAggregate = (error: Error): boolean => error instanceof AggregateError || propertyOf(error, 'name') === 'AggregateError'

/** Undefined also where reading it throws: the error itself is still to be told. */
function propertyOf(error: Error, name: 'name' | 'cause' | 'errors'): unknown {
  try {
    return (error as { readonly [name in 'name' | 'cause' | 'errors']?: unknown })[name]
  } catch {
    return undefined
  }
}

/** What was thrown, whatever it was: an Error, a string, null, or an object whose message throws. */
export function errorRecord(thrown: unknown): ErrorRecord {
  if (!isError(thrown)) return { type: 'Error', message: cut(textOf(() => thrown)), traceback: null }
  return { type: textOf(() => thrown.name).slice(0, MAX_NAME), message: cut(textOf(() => thrown.message)), traceback: cut(stackOf(thrown)) }
}
