import { instant, instantOrNull, json } from '../database/columns.js'
import { isJsonObject, type Json, type JsonObject } from '../task/json.js'
import type { MessageOptions, TaskMessage } from '../task/message.js'

/** A row of task_result as the driver returns it: instants are epoch milliseconds, JSON is text. */
export interface StoredRow {
  readonly id: number
  readonly task_id: string
  readonly task: string
  readonly args: string
  readonly kwargs: string
  readonly status: string
  readonly result: string | null
  readonly error_type: string | null
  readonly error_message: string | null
  readonly traceback: string | null
  readonly queue: string
  readonly exchange: string
  readonly routing_key: string
  readonly priority: number
  readonly eta: number | null
  readonly expires: number | null
  readonly retries: number
  readonly max_retries: number | null
  readonly deliveries: number
  readonly worker_id: string | null
  readonly lease_until: number | null
  readonly scheduled_id: string | null
  readonly parent_id: string | null
  readonly root_id: string
  readonly group_id: string | null
  readonly group_index: number | null
  readonly retry_of: string | null
  readonly periodic_name: string | null
  readonly options: string
  readonly meta: string | null
  readonly submitted_at: number
  readonly published_at: number | null
  readonly claimed_at: number | null
  readonly started_at: number | null
  readonly updated_at: number
  readonly finished_at: number | null
  readonly result_expires_at: number | null
}

/** What the options column holds: the message's options, and what the ledger itself notes about them. */
export interface StoredOptions extends MessageOptions {
  /** Paths in args and kwargs whose values the row does not hold. */
  readonly redacted?: readonly string[]
  /** On the row of a task that was published here: the cluster in which a worker of Celery's has it, or had it, as a watch hears. */
  readonly heardFrom?: string
  /** Columns that hold what Celery showed, as `{"repr": …}`: the value itself cannot be told from it. */
  readonly unreadable?: readonly ('args' | 'kwargs' | 'result')[]
  /** On an open row that a watch changes: which worker received the message of the newest attempt last. */
  readonly received?: { readonly host: string; readonly at: number }
  /** On such a row: executions that began before the one the row tells of, and whose end was not told yet. */
  readonly alsoRunning?: readonly { readonly host: string; readonly at: number }[]
}

/** The ledger's record of one task id. */
export interface TaskRow {
  /** Grows with every row; lists page by it. */
  readonly id: number
  readonly taskId: string
  readonly task: string
  readonly args: Json
  readonly kwargs: Json
  readonly status: string
  readonly result: Json
  readonly errorType: string | null
  readonly errorMessage: string | null
  readonly traceback: string | null
  readonly queue: string
  readonly exchange: string
  readonly routingKey: string
  readonly priority: number
  readonly eta: Date | null
  readonly expires: Date | null
  readonly retries: number
  readonly maxRetries: number | null
  readonly deliveries: number
  readonly workerId: string | null
  readonly leaseUntil: Date | null
  /** For a scheduled task that a sender has claimed: the id of the task that is sent in its place. */
  readonly scheduledId: string | null
  readonly parentId: string | null
  readonly rootId: string
  readonly groupId: string | null
  readonly groupIndex: number | null
  readonly retryOf: string | null
  readonly periodicName: string | null
  readonly options: StoredOptions
  readonly meta: Json
  readonly submittedAt: Date
  /** When the broker confirmed the message; null while it has not. */
  readonly publishedAt: Date | null
  readonly claimedAt: Date | null
  readonly startedAt: Date | null
  readonly updatedAt: Date
  /** Null exactly while the row is open. */
  readonly finishedAt: Date | null
  readonly resultExpiresAt: Date | null
}

/** The text itself where a column holds no JSON: one bad row must not hide the others. `fix-json` repairs results. */
export function jsonOrText(text: string | null): Json {
  try {
    return json(text)
  } catch {
    return text
  }
}

const optionsOf = (text: string): StoredOptions => {
  const options = jsonOrText(text)
  return typeof options === 'object' && options !== null && !Array.isArray(options) ? (options as StoredOptions) : {}
}

/** Whether the options of a row say that a column holds what Celery showed, and not the value. */
export const isShown = (options: string | null, column: 'args' | 'kwargs' | 'result'): boolean =>
  options !== null && (optionsOf(options).unreadable?.includes(column) ?? false)

export function taskRow(stored: StoredRow): TaskRow {
  return {
    id: stored.id,
    taskId: stored.task_id,
    task: stored.task,
    args: jsonOrText(stored.args),
    kwargs: jsonOrText(stored.kwargs),
    status: stored.status,
    result: jsonOrText(stored.result),
    errorType: stored.error_type,
    errorMessage: stored.error_message,
    traceback: stored.traceback,
    queue: stored.queue,
    exchange: stored.exchange,
    routingKey: stored.routing_key,
    priority: stored.priority,
    eta: instantOrNull(stored.eta),
    expires: instantOrNull(stored.expires),
    retries: stored.retries,
    maxRetries: stored.max_retries,
    deliveries: stored.deliveries,
    workerId: stored.worker_id,
    leaseUntil: instantOrNull(stored.lease_until),
    scheduledId: stored.scheduled_id,
    parentId: stored.parent_id,
    rootId: stored.root_id,
    groupId: stored.group_id,
    groupIndex: stored.group_index,
    retryOf: stored.retry_of,
    periodicName: stored.periodic_name,
    options: optionsOf(stored.options),
    meta: jsonOrText(stored.meta),
    submittedAt: instant(stored.submitted_at),
    publishedAt: instantOrNull(stored.published_at),
    claimedAt: instantOrNull(stored.claimed_at),
    startedAt: instantOrNull(stored.started_at),
    updatedAt: instant(stored.updated_at),
    finishedAt: instantOrNull(stored.finished_at),
    resultExpiresAt: instantOrNull(stored.result_expires_at),
  }
}

/** A row from which no message can be made: its arguments are redacted, or not the JSON a message carries. */
export class UnsendableRowError extends Error {
  override readonly name = 'UnsendableRowError'
}

/**
 * The message a row was recorded for.
 *
 * @throws {UnsendableRowError} when the row does not hold the whole of it
 */
export function messageOf(row: TaskRow): TaskMessage {
  const { redacted, unreadable, heardFrom: _, received: __, alsoRunning: ___, ...options } = row.options
  const lacking = unreadable?.find((column) => column !== 'result')
  if (lacking) throw new UnsendableRowError(`its ${lacking} cannot be told exactly from what Celery showed of them`)
  if (redacted) throw new UnsendableRowError(`its arguments are redacted (${redacted.join(', ')})`)
  if (!Array.isArray(row.args)) throw new UnsendableRowError('its args are missing or not a JSON array')
  if (typeof row.kwargs !== 'object' || row.kwargs === null || Array.isArray(row.kwargs)) {
    throw new UnsendableRowError('its kwargs are missing or not a JSON object')
  }
  return {
    id: row.taskId,
    task: row.task,
    args: row.args as readonly Json[],
    kwargs: row.kwargs as JsonObject,
    queue: row.queue,
    exchange: row.exchange,
    routingKey: row.routingKey,
    priority: row.priority,
    eta: row.eta?.getTime() ?? null,
    expires: row.expires?.getTime() ?? null,
    retries: row.retries,
    parentId: row.parentId,
    rootId: row.rootId,
    groupId: row.groupId,
    groupIndex: row.groupIndex,
    retryOf: row.retryOf,
    periodicName: row.periodicName,
    options,
    submittedAt: row.submittedAt.getTime(),
  }
}

/** The message of a row that has ended: what of it the row still holds is enough to tell what follows. */
export function endedMessage(row: TaskRow): TaskMessage {
  const { redacted: _, unreadable: __, ...options } = row.options
  const args = Array.isArray(row.args) ? row.args : []
  const kwargs = isJsonObject(row.kwargs) ? row.kwargs : {}
  return messageOf({ ...row, args, kwargs, options })
}
