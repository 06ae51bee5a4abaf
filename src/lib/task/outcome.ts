import type { Json } from './json.js'

/** An error as the ledger keeps it. */
export interface ErrorRecord {
  /** The error's name, for example `TypeError`. */
  readonly type: string
  readonly message: string
  /** The whole stack with its causes; null when no code of the task was involved. */
  readonly traceback: string | null
}

/** The ways one execution can end. */
export type Outcome =
  /** `text` is the result's JSON; null for a null result. */
  | { readonly kind: 'succeeded'; readonly result: Json; readonly text: string | null }
  | { readonly kind: 'retrying'; readonly eta: number; readonly error: ErrorRecord | null }
  | { readonly kind: 'failed'; readonly error: ErrorRecord; readonly expected: boolean }

/** A stack longer than this is cut, and says so. */
const MAX_TRACEBACK = 256 * 1024

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

function stackOf(error: Error, depth = 0): string {
  const own = textOf(() => error.stack ?? `${error.name}: ${error.message}`)
  const cause = causeOf(error)
  if (cause === undefined || depth > 10) return own
  return `${own}\nCaused by: ${cause instanceof Error ? stackOf(cause, depth + 1) : textOf(() => cause)}`
}

function causeOf(error: Error): unknown {
  try {
    return error.cause
  } catch {
    return undefined // it throws when it is read; the error itself is still to be told
  }
}

/** What was thrown, whatever it was: an Error, a string, null, or an object whose message throws. */
export function errorRecord(thrown: unknown): ErrorRecord {
  if (!(thrown instanceof Error)) return { type: 'Error', message: cut(textOf(() => thrown)), traceback: null }
  return { type: textOf(() => thrown.name), message: cut(textOf(() => thrown.message)), traceback: cut(stackOf(thrown)) }
}
