import { AsyncLocalStorage } from 'node:async_hooks'
import type { Json, JsonObject } from './json.js'
import type { ExecutionOptions, PublishDefaults } from './options.js'
import type { RetryOptions } from './retry-policy.js'
import type { Composed } from './signature.js'

/** What a running task may know of itself. */
export interface TaskRequest {
  readonly id: string
  readonly task: string
  readonly args: readonly Json[]
  readonly kwargs: JsonObject
  /** How often this execution has been retried; 0 on the first run. */
  readonly retries: number
  /** How often its message has been delivered; above 1 when a worker died with it, or gave it back. */
  readonly deliveries: number
  readonly queue: string
  readonly headers: JsonObject
  readonly eta: Date | null
  readonly expires: Date | null
  readonly parentId: string | null
  readonly rootId: string
  readonly retryOf: string | null
  /** The machine that runs it. */
  readonly hostname: string
}

/** What a running task says of itself while it runs. */
export interface TaskUpdate {
  /** A status of the task's own, such as `PROGRESS`; it counts as started and open. */
  readonly state?: string
  /** Anything JSON; it replaces what was said before. */
  readonly meta?: Json
}

/** The first parameter of a task declared with `bind: true`. */
export interface TaskContext {
  readonly request: TaskRequest
  /** Aborted when the task's soft time limit has passed or it is revoked with `terminate`; its reason is the error to end with. */
  readonly signal: AbortSignal
  /**
   * Writes progress, or a status of the task's own, to the task's row.
   *
   * @throws {UsageError} for one of the ledger's own statuses, or a meta that is not JSON
   */
  update(update: TaskUpdate): Promise<void>
  /**
   * Ends this execution and has the task run again under the same id. It throws; `throw task.retry(…)` says so to
   * the reader and to the compiler.
   *
   * @throws {Retry} while a retry is left; else `error`, or MaxRetriesExceededError when none was given
   */
  retry(options?: RetryOptions): never
  /**
   * Ends this execution and has `signature` run in its place: with what would have followed this task, its callbacks, its
   * errbacks and its place in a group. It throws; `throw task.replace(…)` says so to the reader and to the compiler.
   *
   * @throws {Replace} which ends this task as IGNORED; `get()` on its id waits for the result of the replacement
   * @throws {UsageError} for an empty chain, or a signature that counts in another group
   */
  replace(signature: Composed): never
  /**
   * Adds `signature` to the group this task counts in: it is sent once this task has succeeded, and the chord's body waits for
   * it, too. Its result comes after those of the members that are there.
   *
   * @throws {UsageError} when this task counts in no group
   */
  addToChord(signature: Composed): void
}

/** A named function, and how it is run. */
export interface TaskDefinition {
  readonly name: string
  readonly run: (...args: never[]) => unknown
  /** Whether the function takes a TaskContext before its arguments. */
  readonly bind: boolean
  /** Names of the positional parameters, so that kwargs can be given by name. */
  readonly params: readonly string[] | null
  readonly options: ExecutionOptions & PublishDefaults
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
