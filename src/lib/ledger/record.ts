import { insertEachIfNew, insertIfNew } from '../database/change.js'
import type { Sql } from '../database/sql.js'
import type { TaskMessage } from '../task/message.js'
import type { StoredArguments } from './arguments.js'

const COLUMNS = [
  'task_id',
  'task',
  'args',
  'kwargs',
  'status',
  'queue',
  'exchange',
  'routing_key',
  'priority',
  'eta',
  'expires',
  'retries',
  'max_retries',
  'deliveries',
  'worker_id',
  'lease_until',
  'parent_id',
  'root_id',
  'group_id',
  'group_index',
  'retry_of',
  'periodic_name',
  'options',
  'submitted_at',
  'published_at',
  'started_at',
  'updated_at',
] as const

const INSERT = `INSERT INTO task_result (${COLUMNS.join(', ')}) VALUES (${COLUMNS.map(() => '?').join(', ')})`

/** How far a row is when it is first written. */
export interface Beginning {
  readonly status: 'PENDING' | 'SCHEDULED' | 'STARTED' | 'RETRY'
  readonly publishedAt: number | null
  readonly maxRetries: number | null
  readonly eta: number | null
  readonly retries: number
  readonly started: { readonly workerId: string; readonly leaseUntil: number; readonly deliveries: number } | null
  readonly now: number
}

/** How the row begins of a message that no worker has started and that found none. */
export const pending = ({ retries }: TaskMessage, given: Pick<Beginning, 'publishedAt' | 'eta' | 'now'>): Beginning => ({
  status: 'PENDING',
  maxRetries: null,
  retries,
  started: null,
  ...given,
})

function bindings(message: TaskMessage, stored: StoredArguments, beginning: Beginning) {
  const { started } = beginning
  return [
    message.id,
    message.task,
    stored.args,
    stored.kwargs,
    beginning.status,
    message.queue,
    message.exchange,
    message.routingKey,
    message.priority,
    beginning.eta,
    message.expires,
    beginning.retries,
    beginning.maxRetries,
    started?.deliveries ?? 0,
    started?.workerId ?? null,
    started?.leaseUntil ?? null,
    message.parentId,
    message.rootId,
    message.groupId,
    message.groupIndex,
    message.retryOf,
    message.periodicName,
    stored.options,
    message.submittedAt,
    beginning.publishedAt,
    started ? beginning.now : null,
    beginning.now,
  ]
}

/** Writes the row of a task that has none. Fails on a task id that has one already. */
export async function recordTask(sql: Sql, message: TaskMessage, stored: StoredArguments, beginning: Beginning): Promise<void> {
  await sql.run(INSERT, bindings(message, stored, beginning))
}

/** The same, but leaves an existing row alone and says whether it wrote one. */
export async function recordTaskIfNew(sql: Sql, message: TaskMessage, stored: StoredArguments, beginning: Beginning): Promise<boolean> {
  return insertIfNew(sql, INSERT, 'task_id', bindings(message, stored, beginning))
}

/** A row to write. */
export interface NewRow {
  readonly message: TaskMessage
  readonly stored: StoredArguments
  readonly beginning: Beginning
}

/** The same for many. Answers for each whether it wrote one; of two of one task, one does. */
export function recordAllIfNew(sql: Sql, rows: readonly NewRow[]): Promise<boolean[]> {
  const many = rows.map(({ message, stored, beginning }) => bindings(message, stored, beginning))
  return insertEachIfNew(sql, INSERT, 'task_id', many)
}

/** What tells for which message a row waits that no broker has confirmed. */
export interface Unpublished {
  readonly updated_at: number
  readonly retries: number
  readonly eta: number | null
}

/** Each row that waits for a broker, by task id. Others are not among them. */
export async function unpublished(sql: Sql, taskIds: readonly string[]): Promise<ReadonlyMap<string, Unpublished>> {
  const rows = await sql.all<Unpublished & { readonly task_id: string }>(
    `SELECT task_id, updated_at, retries, eta FROM task_result WHERE published_at IS NULL AND finished_at IS NULL AND ${sql.dialect.among('task_id')}`,
    [JSON.stringify(taskIds)],
  )
  return new Map(rows.map((row) => [row.task_id, row]))
}

/**
 * Notes that the broker confirmed the message of a row that waited for it. False: somebody noted it before.
 *
 * @param since the row before the message was sent: one that a worker has made wait again meanwhile waits for another message, and
 * their clocks may say the same. Default: whatever it is
 */
export async function markPublished(
  sql: Sql,
  message: TaskMessage,
  stored: StoredArguments,
  now: number,
  since?: Unpublished,
): Promise<boolean> {
  const unchanged = since === undefined ? '' : ` AND updated_at = ? AND retries = ? AND ${since.eta === null ? 'eta IS NULL' : 'eta = ?'}`
  const before = since === undefined ? [] : [since.updated_at, since.retries, ...(since.eta === null ? [] : [since.eta])]
  const changed = await sql.run(
    `UPDATE task_result SET published_at = ?, args = ?, kwargs = ?, options = ?, updated_at = ?
      WHERE task_id = ? AND published_at IS NULL AND finished_at IS NULL${unchanged}`,
    [now, stored.args, stored.kwargs, stored.options, now, message.id, ...before],
  )
  return changed === 1
}

/** Takes from a row what the ledger must not keep, once its message is published; for one that a worker has had by then. */
export async function cutPublished(sql: Sql, message: TaskMessage, stored: StoredArguments): Promise<void> {
  const options = sql.dialect.patched('options', stored.options)
  await sql.run(
    `UPDATE task_result SET args = ?, kwargs = ?, options = ${options.text} WHERE task_id = ? AND published_at IS NOT NULL AND retries = ?`,
    [stored.args, stored.kwargs, ...options.bindings, message.id, message.retries],
  )
}
