import type { ErrorRecord } from '../task/outcome.js'
import { readRepr } from './repr.js'

const LONGEST_TYPE = 255

/** What Celery 5.2 shows of any error of a task in the solo pool: its traceback tells more. */
const WRAPPED = 'ExceptionWithTraceback()'

/** The last thing raised: the only line of its stack that is not indented, and what is below it. */
const RAISED = /^.*Traceback \(most recent call last\):\n(?: [^\n]*\n)+(?:[\w.]+\.)?(\w+)(?:: (.*?))?\n*$/s

/** `ValueError('boom')` as type and message; what is not of that form is the message of an `Exception`. */
export function errorOf(exception: string, traceback: string | null): ErrorRecord {
  const [, raised, why = ''] = (exception === WRAPPED && RAISED.exec(traceback ?? '')) || []
  if (raised !== undefined) return { type: raised, message: why, traceback }
  const [, type, inner = ''] = /^([A-Za-z_][\w.]*)\((.*)\)$/s.exec(exception) ?? []
  if (type === undefined || type.length > LONGEST_TYPE) return { type: 'Exception', message: exception, traceback }
  const read = readRepr(inner)
  return { type, message: typeof read?.value === 'string' ? read.value : inner, traceback }
}

/** As the ledger's own tasks record a reject. */
export const REJECTED: ErrorRecord = { type: 'Reject', message: 'the task rejected its message', traceback: null }

/** Of a task whose worker stopped it because it lost the broker. */
export const CANCELLED: ErrorRecord = {
  type: 'Cancelled',
  message: 'its worker lost the broker, which delivers it again',
  traceback: null,
}

/** The name of a task that its worker does not know; such a failure is all that tells of it. */
export function unregisteredIn(exception: string): string | null {
  const name = /^NotRegistered\((.*)\)$/s.exec(exception)?.[1]
  const read = name === undefined ? null : readRepr(name)
  return typeof read?.value === 'string' && read.value !== '' && read.value.length <= LONGEST_TYPE ? read.value : null
}
