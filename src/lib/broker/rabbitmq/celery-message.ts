import { toCelery } from '../../canvas/celery-form.js'
import { celeryTime } from '../../canvas/celery-time.js'
import { mapParts } from '../../canvas/parts.js'
import type { Json, JsonObject } from '../../task/json.js'
import type { TaskMessage } from '../../task/message.js'
import type { Canvas, SignatureOptions } from '../../task/signature.js'
import { type AmqpValue, amqpValue, isCarried, isName } from './amqp-headers.js'
import { ownHeader } from './own-header.js'
import { argsRepr, kwargsRepr } from './python-repr.js'
import { answeringTo } from './reply-address.js'

/** A task message as AMQP carries it. */
export interface CeleryMessage {
  readonly exchange: string
  readonly routingKey: string
  readonly properties: CeleryProperties
  readonly headers: { readonly [name: string]: AmqpValue }
  readonly body: Buffer
}

export interface CeleryProperties {
  readonly contentType: 'application/json'
  readonly contentEncoding: 'utf-8'
  readonly deliveryMode: 2
  readonly priority: number
  /** The task's id. */
  readonly correlationId: string
  readonly replyTo: string
  /** Milliseconds from now after which RabbitMQ drops the message by itself. */
  readonly expiration?: string
}

/** Who publishes. */
export interface Publishing {
  /** As `gen4711@host`. */
  readonly origin: string
  /** Where Celery's `rpc://` backend would answer to. */
  readonly replyTo: string
}

/** The headers that are the protocol's; all others are the user's own. The last three are those of Celery 5.3 and later. */
export const PROTOCOL_HEADERS: ReadonlySet<string> = new Set([
  'lang',
  'task',
  'id',
  'shadow',
  'eta',
  'expires',
  'group',
  'group_index',
  'retries',
  'timelimit',
  'root_id',
  'parent_id',
  'argsrepr',
  'kwargsrepr',
  'origin',
  'ignore_result',
  'compression',
  'taskledger',
  'replaced_task_nesting',
  'stamped_headers',
  'stamps',
])

/** RabbitMQ refuses a message that is to be kept longer; the header `expires` has no such limit. */
const LONGEST_EXPIRATION_MS = 2 ** 32 - 1

/** A task message in protocol 2, as Celery 5.2 makes it. */
export function celeryMessage(message: TaskMessage, publishing: Publishing, nowMs: number): CeleryMessage {
  const { exchange, routingKey, options, expires } = message
  const expiration = expires === null ? Number.POSITIVE_INFINITY : Math.max(0, expires - nowMs)
  const replyTo = options.celery?.reply_to ?? publishing.replyTo
  const embed = {
    callbacks: signatures(options.link, nowMs),
    errbacks: signatures(options.linkError, nowMs),
    chain: signatures(stepsOf(message, replyTo), nowMs)?.reverse() ?? null,
    chord: options.celery?.chord ?? null,
  }
  return {
    exchange,
    routingKey,
    properties: {
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      deliveryMode: 2,
      priority: message.priority,
      correlationId: message.id,
      replyTo,
      ...(expiration <= LONGEST_EXPIRATION_MS ? { expiration: String(expiration) } : {}),
    },
    headers: headersOf(message, publishing.origin),
    body: Buffer.from(JSON.stringify([message.args, message.kwargs, embed])),
  }
}

/** The later steps of what a Celery client has begun say themselves whom they answer. */
const stepsOf = ({ options: { chain, celery } }: TaskMessage, replyTo: string): readonly Canvas[] | undefined =>
  celery?.reply_to === undefined ? chain?.map((step) => answeringTo(replyTo, step)) : chain

const signatures = (canvases: readonly Canvas[] | undefined, nowMs: number): JsonObject[] | null =>
  canvases?.map((canvas) => toCelery(inSeconds(canvas, nowMs))) ?? null

/** Celery 5.2 fails to send on what expires at an instant. It is told the seconds that are left now, and counts them from its sending. */
function inSeconds(canvas: Canvas, nowMs: number): Canvas {
  if (canvas.kind !== 'task') return mapParts(canvas, (part) => inSeconds(part, nowMs))
  const { expiresAt, link, linkError, ...options } = canvas.options
  const timed: SignatureOptions = {
    ...options,
    ...(expiresAt === undefined ? {} : { expires: Math.max(0, expiresAt - nowMs) / 1000 }),
    ...(link && { link: link.map((one) => inSeconds(one, nowMs)) }),
    ...(linkError && { linkError: linkError.map((one) => inSeconds(one, nowMs)) }),
  }
  return { ...canvas, options: timed }
}

function headersOf(message: TaskMessage, origin: string): CeleryMessage['headers'] {
  const { eta, expires, options } = message
  const given = Object.entries(options.headers ?? {})
  const carried = given.filter(isCarriedHeader)
  const others = given.length === carried.length && given.length > 0 ? null : given.filter((entry) => !isCarriedHeader(entry))
  const own: { readonly [name: string]: Json } = {
    lang: 'js',
    task: message.task,
    id: message.id,
    shadow: options.celery?.shadow ?? null,
    eta: eta === null ? null : celeryTime(eta),
    expires: expires === null ? null : celeryTime(expires),
    group: message.groupId,
    group_index: options.celery ? message.groupIndex : null, // Celery numbers what it counts, and a group of ours it does not
    retries: message.retries,
    timelimit: [options.timeLimit ?? null, options.softTimeLimit ?? null],
    root_id: message.rootId,
    parent_id: message.parentId,
    argsrepr: argsRepr(message.args),
    kwargsrepr: kwargsRepr(message.kwargs),
    origin,
    ignore_result: options.ignoreResult === true,
    taskledger: ownHeader(message, others && Object.fromEntries(others)),
  }
  return Object.fromEntries([...carried, ...Object.entries(own)].map(([name, value]) => [name, amqpValue(value)]))
}

/** Whether it arrives as a header of its own, as Celery's tasks expect it. */
const isCarriedHeader = ([name, value]: [string, Json]): boolean =>
  isName(name) && !PROTOCOL_HEADERS.has(name) && !isBrokerHeader(name) && isCarried(value)

/** What RabbitMQ itself adds to a message that it has dead-lettered or delivered before. */
export const isBrokerHeader = (name: string): boolean => /^x-((first-|last-)?death|delivery-count)/.test(name)
