import { AsyncLocalStorage } from 'node:async_hooks'
import type { Json, JsonObject } from './json.js'
import type { RetryOptions, RetryPolicy } from './retry-policy.js'

/** What a running task may know of itself. */
export interface TaskRequest {
  readonly id: string
  readonly task: string
  readonly args: readonly Json[]
  readonly kwargs: JsonObject
  /** How often this execution has been retried; 0 on the first run. */
  readonly retries: number
  /** How often its message has been delivered; above 1 after a worker died with it. */
  readonly deliveries: number
  readonly queue: string
  readonly headers: JsonObject
  readonly eta: Date | null
  readonly expires: Date | null
  readonly parentId: string | null
  readonly rootId: string
  readonly retryOf: string | null
}

/** The first parameter of a task declared with `bind: true`. */
export interface TaskContext {
  readonly request: TaskRequest
  /**
   * Ends this execution and has the task run again under the same id. It throws; `throw task.retry(…)` says so to
   * the reader and to the compiler.
   *
   * @throws {Retry} while a retry is left; else `error`, or MaxRetriesExceededError when none was given
   */
  retry(options?: RetryOptions): never
}

/** A named function, and how it is run. */
export interface TaskDefinition {
  readonly name: string
  readonly run: (...args: never[]) => unknown
  /** Whether the function takes a TaskContext before its arguments. */
  readonly bind: boolean
  /** Names of the positional parameters, so that kwargs can be given by name. */
  readonly params: readonly string[] | null
  readonly policy: RetryPolicy
  /** Ack after the run, so that a worker's death repeats the task instead of losing it. */
  readonly acksLate: boolean
  readonly ignoreResult: boolean | undefined
  readonly resultExpires: number | null | undefined
  readonly queue: string | undefined
  readonly priority: number | undefined
  readonly expires: number | undefined
}

/** The task whose body is running in this asynchronous context. What it publishes is its child. */
export const runningTask = new AsyncLocalStorage<TaskRequest>()

/**
 * The arguments a task's function is called with. Kwargs go by name where the task declares `params`; any other
 * task takes them as one last object.
 *
 * @throws {TypeError} for a kwarg that `params` does not name, or that a positional argument gives already
 */
export function callArguments(definition: Pick<TaskDefinition, 'name' | 'params'>, args: readonly Json[], kwargs: JsonObject): Json[] {
  const names = Object.keys(kwargs)
  if (names.length === 0) return [...args]
  const { params, name } = definition
  if (!params) return [...args, kwargs]
  const called: Json[] = [...args]
  for (const kwarg of names) {
    const at = params.indexOf(kwarg)
    if (at < 0) throw new TypeError(`${name} has no parameter named '${kwarg}'; it takes ${params.join(', ')}`)
    if (at < args.length) throw new TypeError(`${name} got two values for '${kwarg}'`)
    called[at] = kwargs[kwarg] ?? null
  }
  return Array.from(called) // a parameter left out in between becomes undefined, as when it is called by hand
}
