import { UsageError } from '../task/errors.js'
import { newTaskId } from '../task/id.js'
import { encodeJson, isJsonObject, type Json, type JsonObject } from '../task/json.js'
import type { MessageOptions, TaskMessage } from '../task/message.js'

/** What a caller may say about one publish. Names and units are Celery's; durations are seconds. */
export interface PublishOptions {
  readonly kwargs?: JsonObject
  /** Default: the task's, then its route's, then the app's `defaultQueue`. */
  readonly queue?: string
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
  /** Default: a new UUIDv7. A second publish under one id is refused. */
  readonly taskId?: string
}

const OPTION_NAMES = ['kwargs', 'queue', 'priority', 'headers', 'expires', 'eta', 'countdown', 'ignoreResult', 'resultExpires', 'taskId'] as const

/** What is known of a task where it is published: its own defaults for the options above, and its ack mode. */
export interface TaskDefaults extends Pick<PublishOptions, 'queue' | 'priority' | 'expires' | 'ignoreResult' | 'resultExpires'> {
  readonly acksLate?: boolean
}

/** The task whose body is publishing. */
export interface ParentTask {
  readonly id: string
  readonly rootId: string
}

function check(holds: boolean, option: string, expected: string, value: unknown): void {
  if (holds) return
  const shown = typeof value === 'object' ? JSON.stringify(value) : String(value)
  throw new UsageError(`${option}: expected ${expected}, got: ${shown}`)
}

const isSeconds = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value) && value >= 0
const isDate = (value: unknown): value is Date => value instanceof Date && !Number.isNaN(value.getTime())
const isName = (value: unknown): boolean => typeof value === 'string' && value.length >= 1 && value.length <= 255

function checkOptions(options: PublishOptions): void {
  for (const name of Object.keys(options)) {
    check(
      OPTION_NAMES.some((known) => known === name),
      'options',
      `only ${OPTION_NAMES.join(', ')} or trx`,
      name,
    )
  }
  const { queue, priority, headers, expires, eta, countdown, resultExpires, ignoreResult, taskId, kwargs } = options
  if (queue !== undefined) check(isName(queue), 'queue', 'a name of 1 to 255 characters', queue)
  if (taskId !== undefined) check(isName(taskId), 'taskId', 'a text of 1 to 255 characters', taskId)
  if (priority !== undefined) check(Number.isInteger(priority) && priority >= 0 && priority <= 255, 'priority', 'a whole number from 0 to 255', priority)
  if (expires !== undefined) check(isDate(expires) || isSeconds(expires), 'expires', 'seconds or a Date', expires)
  if (eta !== undefined) check(isDate(eta), 'eta', 'a Date', eta)
  if (countdown !== undefined) check(isSeconds(countdown), 'countdown', 'seconds, 0 or more', countdown)
  if (eta !== undefined && countdown !== undefined) throw new UsageError('eta and countdown were both given; give one of them')
  if (resultExpires !== undefined && resultExpires !== null) check(isSeconds(resultExpires), 'resultExpires', 'seconds or null', resultExpires)
  if (ignoreResult !== undefined) check(typeof ignoreResult === 'boolean', 'ignoreResult', 'true or false', ignoreResult)
  if (kwargs !== undefined) check(isJsonObject(kwargs), 'kwargs', 'an object', kwargs)
  if (headers !== undefined) check(isJsonObject(headers), 'headers', 'an object', headers)
}

/** The route of exactly this name, else the first whose glob matches it (`*` any text, `?` one character). */
function routed(task: string, routes: Readonly<Record<string, string>>): string | undefined {
  if (Object.hasOwn(routes, task)) return routes[task]
  for (const [glob, queue] of Object.entries(routes)) {
    const pattern = glob.replaceAll(/[.+^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*').replaceAll('?', '.')
    if (new RegExp(`^${pattern}$`, 's').test(task)) return queue
  }
  return undefined
}

export interface Routing {
  readonly defaultQueue: string
  readonly routes: Readonly<Record<string, string>>
}

/**
 * The message a publish call asks for. A call's options win over the task's own, those over a route, a route over
 * `defaultQueue` (the order of Celery's `task_routes`).
 *
 * @throws {UsageError} for an option that is unknown or of the wrong type
 * @throws {NotJsonError} for an argument JSON cannot carry; it names the path, for example `args[0].when`
 */
export function messageFor(task: string, args: readonly unknown[], options: PublishOptions, defaults: TaskDefaults, routing: Routing, parent: ParentTask | null, nowMs: number): TaskMessage {
  checkOptions(options)
  encodeJson(args, 'args')
  if (options.kwargs) encodeJson(options.kwargs, 'kwargs')
  if (options.headers) encodeJson(options.headers, 'headers')
  const id = options.taskId ?? newTaskId(nowMs)
  const queue = options.queue ?? defaults.queue ?? routed(task, routing.routes) ?? routing.defaultQueue
  const expires = options.expires ?? defaults.expires ?? null
  const eta = options.eta?.getTime() ?? (options.countdown ? nowMs + options.countdown * 1000 : null)
  return {
    id,
    task,
    args: args as readonly Json[],
    kwargs: options.kwargs ?? {},
    queue,
    exchange: '',
    routingKey: queue,
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

function messageOptions(options: PublishOptions, defaults: TaskDefaults): MessageOptions {
  const ignoreResult = options.ignoreResult ?? defaults.ignoreResult
  const resultExpires = options.resultExpires === undefined ? defaults.resultExpires : options.resultExpires
  return {
    ...(options.headers ? { headers: options.headers } : {}),
    ...(ignoreResult ? { ignoreResult } : {}),
    ...(resultExpires !== undefined ? { resultExpires } : {}),
    ...(defaults.acksLate ? { acksLate: true } : {}),
  }
}
