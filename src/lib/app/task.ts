import { hostname } from 'node:os'
import { checkOptions, type TaskDefaults } from '../publish/request.js'
import type { TaskContext, TaskDefinition, TaskRequest } from '../task/definition.js'
import { isTimeLimit, LONGEST_TIME_LIMIT } from '../task/duration.js'
import { Retry } from '../task/ending.js'
import { UsageError } from '../task/errors.js'
import { newTaskId } from '../task/id.js'
import type { Json } from '../task/json.js'
import { DEFAULT_EXECUTION, type ExecutionOptions, ON_WORKER_LOST, type SettableOptions } from '../task/options.js'
import { rateIntervalMs } from '../task/rate-limit.js'
import type { RetryOptions } from '../task/retry-policy.js'

/** How a task is declared. What it does not say, the app's settings say for every task. */
export interface TaskOptions extends Partial<ExecutionOptions> {
  readonly name: string
  /** The function takes a TaskContext before its arguments. Default: false. */
  readonly bind?: boolean
  /** Names of the positional parameters, so that kwargs can be given by name. */
  readonly params?: readonly string[]
  readonly ignoreResult?: boolean
  /** Seconds the result is kept; null: for ever. Default: the app's. */
  readonly resultExpires?: number | null
  readonly queue?: string
  readonly priority?: number
  readonly expires?: number
  /** Linked as an errback, the function takes `(request, error, traceback)` before its own arguments. Default: the failed task's id. */
  readonly errback?: boolean
}

const EXECUTION_NAMES = Object.keys(DEFAULT_EXECUTION) as readonly (keyof ExecutionOptions)[]
const OTHER_NAMES = ['name', 'bind', 'params', 'ignoreResult', 'resultExpires', 'queue', 'priority', 'expires', 'errback'] as const
const OPTION_NAMES: readonly string[] = [...OTHER_NAMES, ...EXECUTION_NAMES]

/**
 * A task with every choice made: its own, then the app's.
 *
 * @throws {UsageError} for an option that does not exist, or a value that cannot be one
 */
export function defineTask(options: TaskOptions, run: (...args: never[]) => unknown, settings: SettableOptions): TaskDefinition {
  const { name, bind = false, params = null, queue, priority, expires, ignoreResult, resultExpires } = options
  const stray = Object.keys(options).find((given) => !OPTION_NAMES.includes(given))
  if (stray) throw new UsageError(`task ${name}: there is no option named ${stray}; the options are ${OPTION_NAMES.join(', ')}`)
  if (typeof name !== 'string' || name === '' || name.length > 255) {
    throw new UsageError(`a task needs a name of 1 to 255 characters, got: ${name}`)
  }
  const execution: ExecutionOptions = { ...DEFAULT_EXECUTION, ...executionOf(settings), ...executionOf(options) }
  checkExecution(name, execution)
  const definition: TaskDefinition = {
    name,
    run,
    bind,
    params,
    options: { ...execution, queue, priority, expires, ignoreResult: ignoreResult ?? settings.ignoreResult, resultExpires },
  }
  const { acksLate: _, limits: __, ...publishing } = defaultsOf(definition)
  checkOptions(publishing)
  return definition
}

const executionOf = (given: object): Partial<ExecutionOptions> =>
  Object.fromEntries(
    Object.entries(given).filter(([name, value]) => EXECUTION_NAMES.some((known) => known === name) && value !== undefined),
  )

function checkExecution(task: string, options: ExecutionOptions): void {
  const check = (option: keyof ExecutionOptions, holds: boolean, expected: string) => {
    if (!holds) throw new UsageError(`task ${task}: ${option}: expected ${expected}, got: ${options[option]}`)
  }
  const { maxRetries, softTimeLimit, timeLimit } = options
  check(
    'maxRetries',
    maxRetries === null || (Number.isInteger(maxRetries) && maxRetries >= 0),
    'a whole number, 0 or more, or null for no limit',
  )
  for (const name of ['defaultRetryDelay', 'retryBackoffMax'] as const) {
    check(name, Number.isFinite(options[name]) && options[name] >= 0, 'seconds, 0 or more')
  }
  for (const name of ['softTimeLimit', 'timeLimit'] as const) {
    const limit = options[name]
    check(name, limit === null || isTimeLimit(limit), `seconds above 0, at most ${LONGEST_TIME_LIMIT}, or null for no limit`)
  }
  check(
    'softTimeLimit',
    softTimeLimit === null || timeLimit === null || softTimeLimit <= timeLimit,
    `at most the time limit of ${timeLimit} s`,
  )
  check('retryBackoff', typeof options.retryBackoff === 'boolean' || options.retryBackoff >= 0, 'true, false or a number, 0 or more')
  check('onWorkerLost', ON_WORKER_LOST.includes(options.onWorkerLost), ON_WORKER_LOST.join(', '))
  if (options.rateLimit !== null) rateIntervalMs(options.rateLimit)
}

/** What a publish of this task starts from. */
export function defaultsOf({ options }: TaskDefinition): TaskDefaults {
  const { queue, priority, expires, ignoreResult, resultExpires, acksLate, softTimeLimit, timeLimit } = options
  return {
    ...(queue !== undefined ? { queue } : {}),
    ...(priority !== undefined ? { priority } : {}),
    ...(expires !== undefined ? { expires } : {}),
    ...(ignoreResult !== undefined ? { ignoreResult } : {}),
    ...(resultExpires !== undefined ? { resultExpires } : {}),
    acksLate,
    limits: { softTimeLimit, timeLimit },
  }
}

/** The context of a task that is called directly. There is nobody to retry it: the caller gets the error. */
export function directContext(task: string, args: readonly unknown[]): TaskContext {
  const id = newTaskId()
  const request: TaskRequest = {
    id,
    task,
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
    hostname: hostname(),
  }
  return {
    request,
    signal: new AbortController().signal,
    update: async () => {}, // there is no row to write to
    replace: () => {
      throw new UsageError('replace: a task that is called directly has no place that another could take')
    },
    addToChord: () => {
      throw new UsageError('addToChord: this task counts in no group')
    },
    retry: ({ error }: RetryOptions = {}) => {
      throw error ?? new Retry(Date.now(), undefined)
    },
  }
}
