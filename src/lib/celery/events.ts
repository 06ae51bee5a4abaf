import { isJsonObject, type JsonObject } from '../task/json.js'

/** Where an event comes from, and when it happened there. */
interface Origin {
  readonly host: string
  readonly pid: number
  /** Epoch milliseconds by the sender's clock. */
  readonly at: number
}

/** What a message of a task tells of the call. */
interface Call {
  readonly retries: number
  readonly task: string
  /** As Celery shows them; null when the sender did not say. */
  readonly args: string | null
  readonly kwargs: string | null
  readonly rootId: string | null
  readonly parentId: string | null
  readonly eta: number | null
  readonly expires: number | null
}

interface Raised {
  /** As Python shows it: `ValueError('boom')`. */
  readonly exception: string
  readonly traceback: string | null
}

type OfTask = Origin & { readonly id: string }

/** What Celery tells of a task. Only the first two say which attempt they mean. */
export type TaskEvent =
  /** By whoever published it, and only with `task_send_sent_event`. */
  | (OfTask & Call & { readonly kind: 'sent'; readonly queue: string | null; readonly exchange: string; readonly routingKey: string })
  | (OfTask & Call & { readonly kind: 'received' })
  | (OfTask & { readonly kind: 'started' })
  | (OfTask & { readonly kind: 'succeeded'; readonly result: string | null })
  | (OfTask & Raised & { readonly kind: 'failed' })
  | (OfTask & Raised & { readonly kind: 'retried' })
  | (OfTask & { readonly kind: 'revoked'; readonly reason: 'revoked' | 'expired' | 'terminated' })
  | (OfTask & { readonly kind: 'rejected'; readonly requeue: boolean })
  /** Stopped because its worker lost the broker, which delivers it again. */
  | (OfTask & { readonly kind: 'cancelled' })

/** What a Celery worker tells of itself. */
export interface WorkerEvent extends Origin {
  readonly kind: 'online' | 'heartbeat' | 'offline'
  /** Seconds between two heartbeats. */
  readonly freq: number
  /** Tasks this process has begun, ever. */
  readonly processed: number
}

/** Events of one task, at least one. */
export type EventsOfTask = readonly [TaskEvent, ...TaskEvent[]]

export type CeleryEvent = TaskEvent | WorkerEvent

export const isOfTask = (event: CeleryEvent): event is TaskEvent => 'id' in event

export interface Decoded {
  readonly events: readonly CeleryEvent[]
  /** Events that are not as Celery writes them; an event of the user's own kind is none of those. */
  readonly unreadable: number
}

/** Reads what one message on `celeryev` holds: an event, or, from a worker, a list of them. */
export function decodeEvents(content: Buffer): Decoded {
  const body = parse(content.toString('utf8'))
  if (body === undefined) return { events: [], unreadable: 1 }
  const items = Array.isArray(body) ? body : [body]
  const known = items.filter((item) => !isJsonObject(item) || typeof item['type'] !== 'string' || KNOWN.test(item['type']))
  const events = known.map(decode).filter((event) => event !== null)
  return { events, unreadable: known.length - events.length }
}

const KNOWN = /^(?:task-(?:sent|received|started|succeeded|failed|retried|revoked|rejected|cancelled)|worker-(?:online|heartbeat|offline))$/

const STRING_OR_WORD = /"(?:[^"\\]|\\.)*"|-?\bInfinity\b|\bNaN\b/g

/** Python writes numbers that JSON does not have; they become null. Undefined: it is no JSON at all. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    try {
      return JSON.parse(text.replaceAll(STRING_OR_WORD, (found) => (found.startsWith('"') ? found : 'null')))
    } catch {
      return undefined
    }
  }
}

function decode(given: unknown): CeleryEvent | null {
  if (!isJsonObject(given)) return null
  const [of, kind] = String(given['type']).split('-')
  const host = name(given['hostname'])
  const { timestamp, pid } = given
  if (host === null || typeof timestamp !== 'number') return null
  const origin = { host, pid: whole(pid), at: Math.round(timestamp * 1000) }
  if (of === 'worker') {
    const { freq, processed } = given
    return { ...origin, kind: kind as WorkerEvent['kind'], freq: count(freq), processed: count(processed) }
  }
  const id = name(given['uuid'])
  return id === null ? null : ofTask({ ...origin, id }, kind as TaskEvent['kind'], given)
}

function ofTask(of: OfTask, kind: TaskEvent['kind'], given: JsonObject): TaskEvent | null {
  switch (kind) {
    case 'sent': {
      const { queue, exchange, routing_key } = given
      const call = callIn(given)
      return call && { ...of, ...call, kind, queue: name(queue), exchange: name(exchange) ?? '', routingKey: name(routing_key) ?? '' }
    }
    case 'received': {
      const call = callIn(given)
      return call && { ...of, ...call, kind }
    }
    case 'succeeded':
      return { ...of, kind, result: text(given['result']) }
    case 'failed':
    case 'retried':
      return { ...of, kind, exception: text(given['exception']) ?? '', traceback: text(given['traceback']) }
    case 'revoked':
      return { ...of, kind, reason: given['expired'] === true ? 'expired' : given['terminated'] === true ? 'terminated' : 'revoked' }
    case 'rejected':
      return { ...of, kind, requeue: given['requeue'] === true }
    case 'started':
    case 'cancelled':
      return { ...of, kind }
  }
}

/** The message of a retry names the task itself as its parent. */
function callIn(given: JsonObject): Call | null {
  const task = name(given['name'])
  if (task === null) return null
  return {
    retries: whole(given['retries']),
    task,
    args: text(given['args']),
    kwargs: text(given['kwargs']),
    rootId: name(given['root_id']),
    parentId: given['parent_id'] === given['uuid'] ? null : name(given['parent_id']),
    eta: instant(given['eta']),
    expires: instant(given['expires']),
  }
}

const text = (value: unknown): string | null => (typeof value === 'string' ? value : null)

/** What a column for names takes. */
const name = (value: unknown): string | null => (typeof value === 'string' && value.length >= 1 && value.length <= 255 ? value : null)

const count = (value: unknown): number => (typeof value === 'number' && value > 0 ? value : 0)

const whole = (value: unknown): number => (Number.isSafeInteger(value) ? count(value) : 0)

/** Celery's ISO 8601; a time without an offset is UTC. */
function instant(value: unknown): number | null {
  if (typeof value !== 'string') return null
  const at = Date.parse(/(?:Z|[+-]\d\d:?\d\d)$/.test(value) ? value : `${value}Z`)
  return Number.isNaN(at) ? null : at
}
