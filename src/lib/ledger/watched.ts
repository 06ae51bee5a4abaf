import { insertIfNew } from '../database/change.js'
import type { Sql } from '../database/sql.js'
import type { ErrorRecord } from '../task/outcome.js'
import { type AttemptKind, tryAttempt } from './attempts.js'
import type { StoredRow, TaskRow } from './row.js'

/** What becomes of a task, which is all that a watch writes of one that our own program published. */
const LIFE = [
  'status',
  'result',
  'error_type',
  'error_message',
  'traceback',
  'retries',
  'worker_id',
  'lease_until',
  'published_at',
  'started_at',
  'updated_at',
  'finished_at',
  'result_expires_at',
] as const

/** The columns of a row that a watch has written. */
const COLUMNS = [
  'task',
  'args',
  'kwargs',
  'queue',
  'exchange',
  'routing_key',
  'priority',
  'eta',
  'expires',
  'parent_id',
  'root_id',
  'group_id',
  'group_index',
  'submitted_at',
  ...LIFE,
] as const

export type LifeColumns = Pick<StoredRow, (typeof LIFE)[number]>
export type WatchedColumns = Pick<StoredRow, (typeof COLUMNS)[number]>

/** Whether a row is a watch's, which has written it; one that a worker of our own has had is that worker's. */
export const isWatched = ({ options, deliveries }: TaskRow): boolean => options.watched !== undefined && deliveries === 0

const set = (names: readonly string[]): string => names.map((name) => `${name} = ?`).join(', ')

const bindings = (columns: WatchedColumns) => COLUMNS.map((name) => columns[name])

const INSERT = `INSERT INTO task_result (task_id, options, ${COLUMNS.join(', ')}) VALUES (?, ?, ${COLUMNS.map(() => '?').join(', ')})`

/** Writes the row of a task that events told of. False: the task has a row already, which is left alone. */
export async function recordWatched(sql: Sql, taskId: string, columns: WatchedColumns, options: string): Promise<boolean> {
  return insertIfNew(sql, INSERT, 'task_id', [taskId, options, ...bindings(columns)])
}

/**
 * Writes what further events told of a watched task.
 *
 * @param options what changes of them; null takes one away
 * @returns false when the row has ended or is no watch's
 */
export async function updateWatched(sql: Sql, taskId: string, columns: WatchedColumns, options: string): Promise<boolean> {
  const patched = sql.dialect.patched('options', options)
  const changed = await sql.run(
    `UPDATE task_result SET options = ${patched.text}, ${set(COLUMNS)}
      WHERE task_id = ? AND finished_at IS NULL AND deliveries = 0 AND ${sql.dialect.field('options', 'watched')} IS NOT NULL`,
    [...patched.bindings, ...bindings(columns), taskId],
  )
  return changed === 1
}

/**
 * Writes what events told of a task that our own program published and a worker of Celery's has.
 *
 * @param row as it was read
 * @param options what changes of them; null takes one away
 * @returns false when the row has ended, or a worker of our own has it, or had it and has it retried
 */
export async function updateHeard(sql: Sql, { taskId, retries }: TaskRow, columns: LifeColumns, options: string): Promise<boolean> {
  const patched = sql.dialect.patched('options', options)
  const changed = await sql.run(
    `UPDATE task_result SET options = ${patched.text}, ${set(LIFE)}
      WHERE task_id = ? AND finished_at IS NULL AND deliveries = 0 AND retries = ? AND status <> 'SCHEDULED'`,
    [...patched.bindings, ...LIFE.map((name) => columns[name]), taskId, retries],
  )
  return changed === 1
}

/** Adds a line to the history of a task that a worker of Celery's has, unless the same event added it before. */
export async function recordSetback(
  sql: Sql,
  taskId: string,
  kind: AttemptKind,
  workerId: string,
  error: ErrorRecord,
  at: number,
): Promise<void> {
  do {
    const told = await sql.all('SELECT 1 FROM task_attempt WHERE task_id = ? AND kind = ? AND at = ?', [taskId, kind, at])
    if (told.length > 0) return
  } while (!(await tryAttempt(sql, taskId, kind, workerId, error, at)))
}
