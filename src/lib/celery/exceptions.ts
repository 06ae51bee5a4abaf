import type { JsonObject } from '../task/json.js'
import type { ErrorRecord } from '../task/outcome.js'

/** Where Python finds errors that this program knows under Celery's names. */
const CELERY: Readonly<Record<string, string>> = {
  ChordError: 'celery.exceptions',
  MaxRetriesExceededError: 'celery.exceptions',
  NotRegistered: 'celery.exceptions',
  TaskRevokedError: 'celery.exceptions',
  SoftTimeLimitExceeded: 'billiard.exceptions',
  TimeLimitExceeded: 'billiard.exceptions',
  WorkerLostError: 'billiard.exceptions',
}

/** Python's own errors that one message makes. No other name is looked up there: Celery refuses what is no exception. */
const PYTHON: ReadonlySet<string> = new Set([
  'ArithmeticError',
  'AssertionError',
  'AttributeError',
  'BlockingIOError',
  'BrokenPipeError',
  'BufferError',
  'ChildProcessError',
  'ConnectionAbortedError',
  'ConnectionError',
  'ConnectionRefusedError',
  'ConnectionResetError',
  'EOFError',
  'Exception',
  'FileExistsError',
  'FileNotFoundError',
  'FloatingPointError',
  'ImportError',
  'IndexError',
  'InterruptedError',
  'IsADirectoryError',
  'KeyError',
  'LookupError',
  'MemoryError',
  'ModuleNotFoundError',
  'NameError',
  'NotADirectoryError',
  'NotImplementedError',
  'OSError',
  'OverflowError',
  'PermissionError',
  'ProcessLookupError',
  'RecursionError',
  'ReferenceError',
  'RuntimeError',
  'SyntaxError',
  'TimeoutError',
  'TypeError',
  'UnicodeError',
  'ValueError',
  'ZeroDivisionError',
])

/** No module of Python's: Celery then makes an exception of the error's name. */
const OF_NODE = 'taskledger'

/** An error as Celery's JSON results hold it. */
export function celeryException({ type, message }: ErrorRecord): JsonObject {
  const module = Object.hasOwn(CELERY, type) ? CELERY[type] : undefined
  return { exc_type: type, exc_message: [message], exc_module: module ?? (PYTHON.has(type) ? 'builtins' : OF_NODE) }
}

/** The error that such a result tells of; null when it is none. */
export function errorOfCelery(result: unknown): ErrorRecord | null {
  if (typeof result !== 'object' || result === null || !('exc_type' in result)) return null
  const { exc_type: type, exc_message: message } = result as { exc_type: unknown; exc_message?: unknown }
  const words = Array.isArray(message) ? message.map((one) => (typeof one === 'string' ? one : JSON.stringify(one))).join(', ') : message
  return { type: String(type), message: String(words ?? ''), traceback: null }
}
