import type { Sql } from '../database/sql.js'
import type { ErrorRecord } from '../task/outcome.js'
import { type StoredRow, type TaskRow, taskRow } from './row.js'

/**
 * Rows whose worker is gone and whose task declares what is then to happen, longest gone first. The words of the
 * condition are those of the index task_result_rescuable; late-ack rows are not among them, their message comes back, nor those
 * whose worker is one of Celery's: it may live, and nobody be watching.
 */
export async function findRescuable(sql: Sql, now: number, limit: number): Promise<TaskRow[]> {
  const { by, via } = sql.dialect
  const at = by('rescuable', 'lease_until')
  const rows = await sql.all<StoredRow>(
    `SELECT * FROM ${via('task_result', 'rescuable')} WHERE finished_at IS NULL AND options LIKE '%"onWorkerLost"%' AND ${at} <= ?
        AND (deliveries > 0 OR options NOT LIKE '%"heardFrom"%')
      ORDER BY ${at}, id LIMIT ?`,
    [now, limit],
  )
  return rows.map(taskRow)
}

/** The lease that has run out, and whose it was: a worker that came back meanwhile no longer matches it. */
const GONE = 'id = ? AND finished_at IS NULL AND worker_id = ? AND lease_until = ?'
const gone = (row: TaskRow) => [row.id, row.workerId, row.leaseUntil?.getTime() ?? null]

/** A lost row → FAILURE. */
export async function failLost(
  sql: Sql,
  row: TaskRow,
  error: ErrorRecord,
  end: { at: number; resultExpiresAt: number | null },
): Promise<boolean> {
  const changed = await sql.run(
    `UPDATE task_result SET status = 'FAILURE', error_type = ?, error_message = ?, traceback = ?, lease_until = NULL, updated_at = ?, finished_at = ?,
       result_expires_at = ? WHERE ${GONE}`,
    [error.type, error.message, error.traceback, end.at, end.at, end.resultExpiresAt, ...gone(row)],
  )
  return changed === 1
}

/** A lost row → RETRY, due at once, straight to its queue. */
export async function retryLost(sql: Sql, row: TaskRow, error: ErrorRecord, now: number): Promise<boolean> {
  const changed = await sql.run(
    `UPDATE task_result SET status = 'RETRY', retries = retries + 1, eta = ?, error_type = ?, error_message = ?, traceback = ?, exchange = '', routing_key = queue,
       worker_id = NULL, lease_until = NULL, published_at = NULL, claimed_at = NULL, deliveries = 0, updated_at = ? WHERE ${GONE}`,
    [now, error.type, error.message, error.traceback, now, ...gone(row)],
  )
  return changed === 1
}

/** Which of these executions are no longer their worker's: ended, revoked, or taken over. */
export async function findEnded(
  sql: Sql,
  workerId: string,
  taskIds: readonly string[],
): Promise<{ readonly taskId: string; readonly status: string }[]> {
  const rows = await sql.all<{ task_id: string; status: string }>(
    `SELECT task_id, status FROM task_result WHERE ${sql.dialect.among('task_id')} AND (finished_at IS NOT NULL OR worker_id IS NULL OR worker_id <> ?)`,
    [JSON.stringify(taskIds), workerId],
  )
  return rows.map((row) => ({ taskId: row.task_id, status: row.status }))
}
