import { isTimeLimit, LONGEST_DURATION_MS, LONGEST_TIME_LIMIT } from '../task/duration.js'
import { UsageError } from '../task/errors.js'
import { newTaskId } from '../task/id.js'
import { encodeJson, isJsonObject, type Json, type JsonObject } from '../task/json.js'
import type { MessageOptions, TaskMessage } from '../task/message.js'
import { destinationOf, type Routing } from '../task/routing.js'

/** What a caller may say about one publish. Names and units are Celery's; durations are seconds. */
export interface PublishOptions {
  readonly kwargs?: JsonObject
  /** Default: the task's, then its route's, then the app's `defaultQueue`. */
  readonly queue?: string
  /** Instead of a queue: an exchange of RabbitMQ's, which has to be there. */
  readonly exchange?: string
  /** What the exchange goes by. Default: empty. */
  readonly routingKey?: string
  /** 0 to 255, higher first. Default: 0. */
  readonly priority?: number
  readonly headers?: JsonObject
  /** Seconds from now, or an instant, from which on no worker starts the task. */
  readonly expires?: number | Date
  /** Not before this instant. */
  readonly eta?: Date
  /** Not before this many seconds from now; 0: at once. */
  readonly countdown?: number
  /** The task runs, and leaves no row once it has ended. */
  readonly ignoreResult?: boolean
  /** Seconds the result is kept after the end; null: for ever. Default: the task's, then the app's. */
  readonly resultExpires?: number | null
  /** Seconds after which `task.signal` is aborted. Default: the task's. */
  readonly softTimeLimit?: number
  /** Seconds after which the task is stopped. Default: the task's. */
  readonly timeLimit?: number
  /** Default: a new UUIDv7. A second publish under one id is refused. */
  readonly taskId?: string
}

/** What is known of a task where it is published: its own defaults for the options above, and its ack mode. */
export interface TaskDefaults extends Pick<PublishOptions, 'queue' | 'priority' | 'expires' | 'ignoreResult' | 'resultExpires'> {
  readonly acksLate?: boolean
  /** The task's own limits, in seconds; a call's must go with them. */
  readonly limits?: { readonly softTimeLimit: number | null; readonly timeLimit: number | null }
}

/** The task whose body is publishing. */
export interface ParentTask {
  readonly id: string
  readonly rootId: string
}

const isSeconds = (value: unknown): value is number => typeof value === 'number' && value >= 0 && value * 1000 <= LONGEST_DURATION_MS
const isDate = (value: unknown): value is Date => value instanceof Date && !Number.isNaN(value.getTime())
const isName = (value: unknown): boolean => typeof value === 'string' && value.length >= 1 && value.length <= 255

type Check = readonly [expected: string, holds: (value: unknown) => boolean]

function check(name: string, value: unknown, [expected, holds]: Check): void {
  if (holds(value)) return
  throw new UsageError(`${name}: expected ${expected}, got: ${typeof value === 'object' ? JSON.stringify(value) : String(value)}`)
}

const CHECKS: Readonly<Record<keyof PublishOptions, Check>> = {
  kwargs: ['an object', isJsonObject],
  queue: ['a name of 1 to 255 characters', isName],
  exchange: ['a name of 1 to 255 characters', isName],
  routingKey: ['a text of up to 255 characters', (value) => value === '' || isName(value)],
  priority: ['a whole number from 0 to 255', (value) => typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 255],
  headers: ['an object', isJsonObject],
  expires: ['seconds or a Date', (value) => isDate(value) || isSeconds(value)],
  eta: ['a Date', isDate],
  countdown: ['seconds, 0 or more', isSeconds],
  ignoreResult: ['true or false', (value) => typeof value === 'boolean'],
  resultExpires: ['seconds or null', (value) => value === null || isSeconds(value)],
  softTimeLimit: [`seconds above 0, at most ${LONGEST_TIME_LIMIT}`, isTimeLimit],
  timeLimit: [`seconds above 0, at most ${LONGEST_TIME_LIMIT}`, isTimeLimit],
  taskId: ['a text of 1 to 255 characters', isName],
}

/** What callers of an app may say besides; the app has taken it out. */
const APPLY_OPTIONS = ['link', 'linkError', 'scope', 'workflowExpires', 'trx'] as const

/**
 * @param others further options of the call, for the error: they are not in `options`
 * @throws {UsageError} for an option that is unknown or of the wrong type
 */
export function checkOptions(options: PublishOptions, others: readonly string[] = APPLY_OPTIONS): void {
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(CHECKS, name)) {
      const names = [...Object.keys(CHECKS), ...others]
      throw new UsageError(`there is no publish option named ${name}; the options are ${names.slice(0, -1).join(', ')} and ${names.at(-1)}`)
    }
    if (value !== undefined) check(name, value, CHECKS[name as keyof PublishOptions])
  }
  if (options.eta !== undefined && options.countdown !== undefined)
    throw new UsageError('eta and countdown were both given; give one of them')
  if (options.exchange !== undefined && options.queue !== undefined)
    throw new UsageError('queue and exchange were both given; give one of them')
  if (options.routingKey !== undefined && options.exchange === undefined)
    throw new UsageError('routingKey was given without an exchange; give the exchange, or a queue alone')
}

/**
 * The message a publish call asks for. A call's options win over the task's own, those over a route, a route over
 * `defaultQueue` (the order of Celery's `task_routes`).
 *
 * @throws {UsageError} for an option that is unknown or of the wrong type, or a name or list of arguments that is none
 * @throws {NotJsonError} for an argument JSON cannot carry; it names the path, for example `args[0].when`
 */
export function messageFor(
  task: string,
  args: readonly unknown[],
  options: PublishOptions,
  defaults: TaskDefaults,
  routing: Routing,
  parent: ParentTask | null,
  nowMs: number,
): TaskMessage {
  check('task', task, ['a name of 1 to 255 characters', isName])
  check('args', args, ['an array', Array.isArray])
  checkOptions(options)
  checkLimits(options, defaults)
  encodeJson(args, 'args')
  if (options.kwargs) encodeJson(options.kwargs, 'kwargs')
  if (options.headers) encodeJson(options.headers, 'headers')
  const id = options.taskId ?? newTaskId(nowMs)
  const expires = options.expires ?? defaults.expires ?? null
  const eta = options.eta?.getTime() ?? (options.countdown ? nowMs + options.countdown * 1000 : null)
  return {
    id,
    task,
    args: args as readonly Json[],
    kwargs: options.kwargs ?? {},
    ...destinationOf(task, [options, defaults], routing),
    priority: options.priority ?? defaults.priority ?? 0,
    eta: eta !== null && eta > nowMs ? Math.ceil(eta) : null,
    expires: typeof expires === 'number' ? nowMs + Math.round(expires * 1000) : (expires?.getTime() ?? null),
    retries: 0,
    parentId: parent?.id ?? null,
    rootId: parent?.rootId ?? id,
    groupId: null,
    groupIndex: null,
    retryOf: null,
    periodicName: null,
    options: messageOptions(options, defaults),
    submittedAt: nowMs,
  }
}

/** Celery refuses a soft limit above the hard one at the call. */
export function checkLimits(options: Pick<PublishOptions, 'softTimeLimit' | 'timeLimit'>, { limits }: TaskDefaults): void {
  const soft = options.softTimeLimit ?? limits?.softTimeLimit ?? null
  const hard = options.timeLimit ?? limits?.timeLimit ?? null
  if (soft !== null && hard !== null && soft > hard) {
    throw new UsageError(`softTimeLimit: expected at most the time limit of ${hard} s, got: ${soft}`)
  }
}

function messageOptions(options: PublishOptions, defaults: TaskDefaults): MessageOptions {
  const ignoreResult = options.ignoreResult ?? defaults.ignoreResult
  const resultExpires = options.resultExpires === undefined ? defaults.resultExpires : options.resultExpires
  return {
    ...(options.headers ? { headers: options.headers } : {}),
    ...(ignoreResult ? { ignoreResult } : {}),
    ...(resultExpires !== undefined ? { resultExpires } : {}),
    ...(options.softTimeLimit !== undefined ? { softTimeLimit: options.softTimeLimit } : {}),
    ...(options.timeLimit !== undefined ? { timeLimit: options.timeLimit } : {}),
    ...(defaults.acksLate ? { acksLate: true } : {}),
  }
}
