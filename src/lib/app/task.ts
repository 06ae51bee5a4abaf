import type { Knex } from 'knex'
import { checkOptions, type PublishOptions, type TaskDefaults } from '../publish/request.js'
import type { TaskContext, TaskDefinition, TaskRequest } from '../task/definition.js'
import { UsageError } from '../task/errors.js'
import { newTaskId } from '../task/id.js'
import type { Json } from '../task/json.js'
import { DEFAULT_RETRY_POLICY, Retry, type RetryOptions, type RetryPolicy } from '../task/retry-policy.js'
import type { AsyncResult } from './result.js'

/** How a task is declared. Names, units and defaults are Celery's; durations are seconds. */
export interface TaskOptions extends Partial<RetryPolicy> {
  readonly name: string
  /** The function takes a TaskContext before its arguments. Default: false. */
  readonly bind?: boolean
  /** Names of the positional parameters, so that kwargs can be given by name. */
  readonly params?: readonly string[]
  /** Ack after the run: a worker's death repeats the task instead of losing it. Default: false. */
  readonly acksLate?: boolean
  readonly ignoreResult?: boolean
  /** Seconds the result is kept; null: for ever. Default: the app's. */
  readonly resultExpires?: number | null
  readonly queue?: string
  readonly priority?: number
  readonly expires?: number
}

/** Options of one publish, and the caller's own knex transaction on the ledger's database, if it is to be part of that. */
export interface ApplyOptions extends PublishOptions {
  readonly trx?: Knex.Transaction
}

/** A task as its callers hold it. Called directly, it runs here and now, without the ledger. */
export interface Task<A extends unknown[], R> {
  (...args: A): R
  readonly taskName: string
  /** Publishes the task. */
  delay(...args: A): Promise<AsyncResult<Awaited<R>>>
  /** Publishes the task with options. */
  applyAsync(args: A, options?: ApplyOptions): Promise<AsyncResult<Awaited<R>>>
  /** With kwargs, the positional arguments may be fewer. */
  applyAsync(
    args: readonly Json[],
    options: ApplyOptions & { readonly kwargs: NonNullable<PublishOptions['kwargs']> },
  ): Promise<AsyncResult<Awaited<R>>>
}

const OPTION_NAMES: readonly (keyof TaskOptions)[] = [
  'name',
  'bind',
  'params',
  'acksLate',
  'ignoreResult',
  'resultExpires',
  'queue',
  'priority',
  'expires',
  'maxRetries',
  'defaultRetryDelay',
  'autoretryFor',
  'dontAutoretryFor',
  'retryBackoff',
  'retryBackoffMax',
  'retryJitter',
  'throws',
]

/** @throws {UsageError} for an option that does not exist or a value that cannot be one */
export function defineTask(options: TaskOptions, run: (...args: never[]) => unknown): TaskDefinition {
  const stray = Object.keys(options).find((name) => !OPTION_NAMES.some((known) => known === name))
  if (stray) throw new UsageError(`task ${options.name}: there is no option named ${stray}; the options are ${OPTION_NAMES.join(', ')}`)
  if (typeof options.name !== 'string' || options.name === '' || options.name.length > 255) {
    throw new UsageError(`a task needs a name of 1 to 255 characters, got: ${options.name}`)
  }
  const policy: RetryPolicy = { ...DEFAULT_RETRY_POLICY, ...definedOnly(options) }
  const { maxRetries, defaultRetryDelay, retryBackoffMax } = policy
  if (maxRetries !== null && !(Number.isInteger(maxRetries) && maxRetries >= 0)) {
    throw new UsageError(`task ${options.name}: maxRetries: expected a whole number, 0 or more, or null for no limit, got: ${maxRetries}`)
  }
  for (const [name, seconds] of Object.entries({ defaultRetryDelay, retryBackoffMax })) {
    if (!(Number.isFinite(seconds) && seconds >= 0))
      throw new UsageError(`task ${options.name}: ${name}: expected seconds, 0 or more, got: ${seconds}`)
  }
  const definition: TaskDefinition = {
    name: options.name,
    run,
    bind: options.bind ?? false,
    params: options.params ?? null,
    policy,
    acksLate: options.acksLate ?? false,
    ignoreResult: options.ignoreResult,
    resultExpires: options.resultExpires,
    queue: options.queue,
    priority: options.priority,
    expires: options.expires,
  }
  const { acksLate: _, ...publishing } = defaultsOf(definition)
  checkOptions(publishing)
  return definition
}

function definedOnly(options: TaskOptions): Partial<RetryPolicy> {
  const names = Object.keys(DEFAULT_RETRY_POLICY)
  return Object.fromEntries(Object.entries(options).filter(([name, value]) => names.includes(name) && value !== undefined))
}

/** What a publish of this task starts from. */
export function defaultsOf(definition: TaskDefinition): TaskDefaults {
  const { queue, priority, expires, ignoreResult, resultExpires, acksLate } = definition
  return {
    ...(queue !== undefined ? { queue } : {}),
    ...(priority !== undefined ? { priority } : {}),
    ...(expires !== undefined ? { expires } : {}),
    ...(ignoreResult !== undefined ? { ignoreResult } : {}),
    ...(resultExpires !== undefined ? { resultExpires } : {}),
    acksLate,
  }
}

/** The context of a task that is called directly. There is nobody to retry it: the caller gets the error. */
export function directContext(definition: TaskDefinition, args: readonly unknown[]): TaskContext {
  const id = newTaskId()
  const request: TaskRequest = {
    id,
    task: definition.name,
    args: args as readonly Json[],
    kwargs: {},
    retries: 0,
    deliveries: 0,
    queue: '',
    headers: {},
    eta: null,
    expires: null,
    parentId: null,
    rootId: id,
    retryOf: null,
  }
  return {
    request,
    retry: ({ error }: RetryOptions = {}) => {
      throw error ?? new Retry(Date.now(), undefined)
    },
  }
}
