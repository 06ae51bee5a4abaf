import type { Sql } from '../database/sql.js'
import { type StoredRow, type TaskRow, taskRow } from './row.js'

/**
 * Tasks that expired at or before `cutoff` and that nobody has started, the longest expired first. The words of the condition are
 * those of the index task_result_expiring. A scheduled task is revoked when it would be sent, a watched one by Celery. One that
 * nobody here has ever had but that has a child has run: in a worker of Celery's, of which this ledger hears nothing else unless a
 * watch listens; what a watch has heard started has a lease, which stays on the row when it has run out.
 */
export async function findExpired(sql: Sql, cutoff: number, limit: number): Promise<TaskRow[]> {
  const { by, via } = sql.dialect
  const at = by('expiring', 'expires')
  const rows = await sql.all<StoredRow>(
    `SELECT * FROM ${via('task_result', 'expiring')} WHERE finished_at IS NULL AND expires IS NOT NULL AND lease_until IS NULL AND status <> 'SCHEDULED' AND ${at} <= ?
        AND options NOT LIKE '%"watched"%'
        AND (deliveries > 0 OR retries > 0 OR NOT EXISTS (SELECT 1 FROM task_result AS child WHERE child.parent_id = task_result.task_id))
      ORDER BY ${at}, id LIMIT ?`,
    [cutoff, limit],
  )
  return rows.map(taskRow)
}
