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
  return (await sql.run(`${INSERT} ON CONFLICT (task_id) DO NOTHING`, bindings(message, stored, beginning))) === 1
}

/** Notes that the broker confirmed the message of a row that waited for it. False: somebody noted it before. */
export async function markPublished(sql: Sql, message: TaskMessage, stored: StoredArguments, now: number): Promise<boolean> {
  const changed = await sql.run(
    'UPDATE task_result SET published_at = ?, args = ?, kwargs = ?, options = ?, updated_at = ? WHERE task_id = ? AND published_at IS NULL AND finished_at IS NULL',
    [now, stored.args, stored.kwargs, stored.options, now, message.id],
  )
  return changed === 1
}
