import { fromCelery } from '../../canvas/celery-form.js'
import { instantOf } from '../../canvas/celery-options.js'
import { isTimeLimit, LONGEST_TIME_LIMIT } from '../../task/duration.js'
import { UsageError } from '../../task/errors.js'
import { isJsonObject, type Json, type JsonObject } from '../../task/json.js'
import type { CeleryExtras, MessageOptions, TaskMessage } from '../../task/message.js'
import type { Canvas } from '../../task/signature.js'
import { jsonOfAmqp } from './amqp-headers.js'
import { readBody } from './celery-body.js'
import { isBrokerHeader, PROTOCOL_HEADERS } from './celery-message.js'
import { type OwnHeader, readOwnHeader } from './own-header.js'
import { answeringNobody } from './reply-address.js'

/** A message as amqplib hands it over. */
export interface Arrived {
  readonly fields: { readonly exchange: string; readonly routingKey: string }
  readonly properties: {
    readonly contentType?: unknown
    readonly headers?: { readonly [name: string]: unknown } | undefined
    readonly priority?: unknown
    readonly replyTo?: unknown
  }
  readonly content: Buffer
}

/** What became of reading a message. */
export interface Reading {
  /** Of a faulty one, what could be read of it; null when it does not even have an id. */
  readonly message: TaskMessage | null
  /** Why it cannot be run; null: it can. */
  readonly fault: string | null
}

/**
 * Reads a message of Celery's protocol 2 or 1, from whatever program it came.
 *
 * @param queue where it came from; it goes back there whatever exchange it came through
 */
export function readCelery(arrived: Arrived, queue: string, nowMs: number): Reading {
  let known: Known | null = null
  try {
    const headers = jsonOfAmqp(arrived.properties.headers ?? {}) as JsonObject
    if ('task' in headers) known = named(headers)
    const body = readBody(arrived.content, arrived.properties.contentType, headers['compression'])
    if (known) return { message: messageOf(known, telling(callOf(body), headers), arrived, queue, nowMs), fault: null }
    if (!isJsonObject(body as Json)) throw new UsageError('expected a task message, got one without the header task')
    const call = body as JsonObject
    known = named(call)
    return {
      message: messageOf(known, telling({ ...call, group: call['group'] ?? call['taskset'] ?? null }, {}), arrived, queue, nowMs),
      fault: null,
    }
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    return { message: known && blank(known, queue, nowMs), fault: error.message }
  }
}

interface Known {
  readonly id: string
  readonly task: string
}

/** Without an id nothing can be told to anybody. */
function named({ id, task }: JsonObject): Known {
  if (typeof id !== 'string' && typeof id !== 'number') throw new UsageError(`id: expected a text, got: ${shown(id)}`)
  if (id === '' || String(id).length > 255) throw new UsageError(`id: expected 1 to 255 characters, got: ${shown(id)}`)
  return { id: String(id), task: typeof task === 'string' ? task : '' }
}

/** The body of protocol 2 under the names of protocol 1; one that has those names already is taken as it is. */
function callOf(body: unknown): JsonObject {
  if (isJsonObject(body as Json)) return body as JsonObject
  if (!Array.isArray(body) || body.length !== 3) {
    throw new UsageError(`body: expected [args, kwargs, embed], got: ${Array.isArray(body) ? `an array of ${body.length}` : shown(body)}`)
  }
  const [args, kwargs, embed] = body
  return { ...(embed === null ? {} : objectOf(embed, 'embed')), args, kwargs }
}

/** What headers and body say, by Celery's names. */
type Told = (name: string) => Json | undefined

const telling =
  (first: JsonObject, second: JsonObject): Told =>
  (name) =>
    first[name] === undefined ? second[name] : first[name]

function messageOf({ id, task }: Known, told: Told, arrived: Arrived, queue: string, nowMs: number): TaskMessage {
  if (task === '') throw new UsageError(`task: expected the name of a task, got: ${shown(told('task'))}`)
  const own = readOwnHeader(told('taskledger'))
  const parentId = textOf(told('parent_id'), 'parent_id')
  const { priority } = arrived.properties
  return {
    id,
    task,
    args: listOf(told('args'), 'args'),
    kwargs: objectOf(told('kwargs'), 'kwargs'),
    queue,
    exchange: own ? arrived.fields.exchange : '',
    routingKey: own ? arrived.fields.routingKey : queue,
    priority: typeof priority === 'number' ? Math.min(priority, 255) : 0,
    eta: timeOf(told('eta'), 'eta'),
    expires: timeOf(told('expires'), 'expires'),
    retries: countOf(told('retries'), 'retries') ?? 0,
    parentId: parentId === id ? null : parentId, // a retry by Celery names itself
    rootId: textOf(told('root_id'), 'root_id') ?? id,
    groupId: textOf(told('group'), 'group'),
    groupIndex: own?.groupIndex ?? countOf(told('group_index'), 'group_index'),
    retryOf: own?.retryOf ?? null,
    periodicName: own?.periodicName ?? null,
    options: optionsOf(told, own, arrived),
    submittedAt: own?.submittedAt ?? nowMs,
  }
}

function optionsOf(told: Told, own: OwnHeader | null, { properties }: Arrived): MessageOptions {
  const [timeLimit = null, softTimeLimit = null] = told('timelimit') ? listOf(told('timelimit'), 'timelimit') : []
  const link = canvasesOf(told('callbacks'), 'callbacks')
  const linkError = canvasesOf(told('errbacks'), 'errbacks')
  const celery = extrasOf(told, own, properties.replyTo)
  const chain = stepsOf(told, own, properties.replyTo)
  const headers = headersOf(properties.headers ?? {}, own)
  return {
    ...own?.options,
    ...(headers ? { headers } : {}),
    ...(told('ignore_result') === true ? { ignoreResult: true } : {}),
    ...(timeLimit === null ? {} : { timeLimit: secondsOf(timeLimit) }),
    ...(softTimeLimit === null ? {} : { softTimeLimit: secondsOf(softTimeLimit) }),
    ...(link.length > 0 ? { link } : {}),
    ...(linkError.length > 0 ? { linkError } : {}),
    ...(chain.length > 0 ? { chain } : {}),
    ...(celery ? { celery } : {}),
    ...own?.following,
  }
}

function stepsOf(told: Told, own: OwnHeader | null, replyTo: unknown): Canvas[] {
  const steps = canvasesOf(told('chain'), 'chain').reverse()
  if (typeof replyTo !== 'string' || !own || own.options.celery?.reply_to !== undefined) return steps
  return steps.map((step) => answeringNobody(replyTo, step))
}

/** A message of this program's has a shadow and an address to answer to only if a Celery message was its origin. */
function extrasOf(told: Told, own: OwnHeader | null, replyTo: unknown): CeleryExtras | null {
  const [shadow, chord] = [told('shadow'), told('chord')]
  const said = own?.options.celery ?? {
    ...(typeof shadow === 'string' ? { shadow } : {}),
    ...(typeof replyTo === 'string' && !own ? { reply_to: replyTo } : {}),
  }
  const extras = { ...said, ...(isJsonObject(chord) ? { chord } : {}) }
  return Object.keys(extras).length > 0 ? extras : null
}

/** The user's own headers. */
function headersOf(all: { readonly [name: string]: unknown }, own: OwnHeader | null): JsonObject | null {
  const names = Object.keys(all).filter((name) => !PROTOCOL_HEADERS.has(name) && !isBrokerHeader(name))
  if (names.length === 0 && !own?.headers) return null
  return { ...Object.fromEntries(names.map((name) => [name, jsonOfAmqp(all[name])])), ...own?.headers }
}

function blank({ id, task }: Known, queue: string, nowMs: number): TaskMessage {
  return {
    id,
    task,
    args: [],
    kwargs: {},
    queue,
    exchange: '',
    routingKey: queue,
    priority: 0,
    eta: null,
    expires: null,
    retries: 0,
    parentId: null,
    rootId: id,
    groupId: null,
    groupIndex: null,
    retryOf: null,
    periodicName: null,
    options: {},
    submittedAt: nowMs,
  }
}

const shown = (value: unknown): string => (value === undefined ? 'nothing' : JSON.stringify(value).slice(0, 80))

const isNothing = (value: unknown): value is null | undefined => value === null || value === undefined

function listOf(value: Json | undefined, path: string): readonly Json[] {
  if (Array.isArray(value)) return value
  throw new UsageError(`${path}: expected an array, got: ${shown(value)}`)
}

function objectOf(value: Json | undefined, path: string): JsonObject {
  if (isJsonObject(value)) return value
  throw new UsageError(`${path}: expected an object, got: ${shown(value)}`)
}

function textOf(value: Json | undefined, path: string): string | null {
  if (isNothing(value)) return null
  if (typeof value === 'string') return value
  throw new UsageError(`${path}: expected a text, got: ${shown(value)}`)
}

function countOf(value: Json | undefined, path: string): number | null {
  if (isNothing(value)) return null
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0) return value
  throw new UsageError(`${path}: expected a whole number, 0 or more, got: ${shown(value)}`)
}

function secondsOf(value: Json): number {
  if (isTimeLimit(value)) return value
  throw new UsageError(`timelimit: expected seconds above 0, at most ${LONGEST_TIME_LIMIT}, got: ${shown(value)}`)
}

const timeOf = (value: Json | undefined, path: string): number | null => (isNothing(value) ? null : instantOf(value, path))

/** Celery takes one callback for a list of one. */
function canvasesOf(value: Json | undefined, path: string): Canvas[] {
  if (isNothing(value)) return []
  const list = Array.isArray(value) ? value : [value]
  return list.map((one, i) => fromCelery(one, `${path}[${i}]`))
}
