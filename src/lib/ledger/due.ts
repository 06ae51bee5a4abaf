import { type Chosen, isAny, lockKeys, update } from '../database/change.js'
import type { Dialect } from '../database/dialect.js'
import type { Sql } from '../database/sql.js'
import { type StoredRow, type TaskRow, taskRow } from './row.js'

/** Waiting for its eta, unclaimed. The same words as the index task_result_due, so that SQLite uses it. */
const waiting = ({ by }: Dialect): string =>
  `finished_at IS NULL AND published_at IS NULL AND scheduled_id IS NULL AND ${by('due', 'eta')} IS NOT NULL`

/**
 * Claims SCHEDULED rows whose eta has passed (strictly before `now`), in eta order, at most as many as `newIds`.
 *
 * Choosing and marking are one UPDATE, so two senders never share a row. Each row's `scheduled_id` is the id
 * of the task that will be sent for it. A row that could not be sent is left alone until `retryBefore`.
 * The status is no way to find them: all that is scheduled has that, whenever it is due.
 */
export async function claimDue(sql: Sql, newIds: readonly string[], now: number, retryBefore: number): Promise<TaskRow[]> {
  const { unindexed, claimed, elements, place, by, returning } = sql.dialect
  const eta = by('due', 'eta')
  const where = `${waiting(sql.dialect)} AND ${eta} < ? AND ${unindexed('status')} = 'SCHEDULED' AND (claimed_at IS NULL OR claimed_at <= ?)`
  const due = {
    table: 'task_result',
    key: 'id',
    where,
    index: 'due',
    first: `ORDER BY ${eta}, id LIMIT ?`,
    bindings: [now, retryBefore, newIds.length],
  }
  if (!returning) return claimLocked(sql, await lockKeys(sql, due), newIds, now)
  const rows = await sql.all<StoredRow>(
    `WITH waiting AS (SELECT id, eta FROM task_result WHERE ${where} ${due.first}${claimed})
     UPDATE task_result SET scheduled_id = claim.new_id, claimed_at = ?
       FROM (SELECT due.id, ids.value AS new_id
               FROM (SELECT id, row_number() OVER (ORDER BY eta, id) - 1 AS n FROM waiting) AS due
               JOIN ${elements('ids')} ON ids.${place} = due.n) AS claim
      WHERE task_result.id = claim.id
      RETURNING *`,
    [...due.bindings, now, JSON.stringify(newIds)],
  )
  return rows.map(taskRow).sort(byEta)
}

/** The same for rows that this transaction has to itself, where no UPDATE can take what it writes from a list. */
async function claimLocked(sql: Sql, ids: string | null, newIds: readonly string[], now: number): Promise<TaskRow[]> {
  if (ids === null) return []
  const these = sql.dialect.among('id')
  await sql.run(`UPDATE task_result SET scheduled_id = ELT(FIELD(id, ?*), ?*), claimed_at = ? WHERE ${these}`, [
    ids,
    JSON.stringify(newIds),
    now,
    ids,
  ])
  const rows = await sql.all<StoredRow>(`SELECT * FROM task_result WHERE ${these}`, [ids])
  return rows.map(taskRow).sort(byEta)
}

/** Claims made at or before `cutoff`, oldest first: their sender died before it sent. */
function abandoned({ by }: Dialect, cutoff: number, limit: number): Chosen {
  const at = by('claimed', 'claimed_at')
  return {
    table: 'task_result',
    key: 'id',
    where: `finished_at IS NULL AND scheduled_id IS NOT NULL AND ${at} <= ?`,
    index: 'claimed',
    first: `ORDER BY ${at}, id LIMIT ?`,
    bindings: [cutoff, limit],
  }
}

/** Takes over claims whose sender died before it sent. Their new ids stay. */
export async function resumeClaims(sql: Sql, cutoff: number, now: number, limit: number): Promise<TaskRow[]> {
  const rows = await update<StoredRow>(sql, abandoned(sql.dialect, cutoff, limit), { set: 'claimed_at = ?', bindings: [now] }, '*')
  return rows.map(taskRow).sort(byEta)
}

/** Gives claims up, so that the rows are sent again under new ids; also tells how many there were. */
export async function releaseClaims(sql: Sql, taskIds: readonly string[]): Promise<number> {
  let released = 0
  for (const taskId of taskIds) {
    released += await sql.run(
      'UPDATE task_result SET scheduled_id = NULL WHERE task_id = ? AND scheduled_id IS NOT NULL AND finished_at IS NULL',
      [taskId],
    )
  }
  return released
}

/** Gives one claim up and says why on the row. `claimed_at` stays: it tells the next pass when this was tried. */
export async function releaseWithError(
  sql: Sql,
  taskId: string,
  scheduledId: string,
  errorType: string,
  errorMessage: string,
): Promise<boolean> {
  const changed = await sql.run(
    'UPDATE task_result SET scheduled_id = NULL, error_type = ?, error_message = ? WHERE task_id = ? AND scheduled_id = ? AND finished_at IS NULL',
    [errorType, errorMessage, taskId, scheduledId],
  )
  return changed === 1
}

/** Notes on a row that waits (a retry, an unpublished task) that sending it failed, and when. */
export async function noteSendFailure(sql: Sql, taskId: string, errorType: string, errorMessage: string, now: number): Promise<void> {
  await sql.run(
    'UPDATE task_result SET claimed_at = ?, error_type = ?, error_message = ? WHERE task_id = ? AND published_at IS NULL AND finished_at IS NULL',
    [now, errorType, errorMessage, taskId],
  )
}

/** Gives up the claims of rows whose message the broker did not take: any pass may send them. */
export async function releaseUnsent(sql: Sql, taskIds: readonly string[]): Promise<void> {
  await sql.run(
    `UPDATE task_result SET claimed_at = NULL WHERE published_at IS NULL AND finished_at IS NULL AND ${sql.dialect.among('task_id')}`,
    [JSON.stringify(taskIds)],
  )
}

/**
 * Claims rows that wait for a retry, or for a broker that took no message yet, and whose eta has passed; in eta order. Rows that
 * were claimed, or could not be sent, after `retryBefore` are left alone.
 */
export async function claimRetries(sql: Sql, now: number, retryBefore: number, limit: number): Promise<TaskRow[]> {
  const { by, unindexed } = sql.dialect
  const eta = by('due', 'eta')
  const retries = {
    table: 'task_result',
    key: 'id',
    where: `${waiting(sql.dialect)} AND ${eta} < ? AND ${unindexed('status')} <> 'SCHEDULED' AND (claimed_at IS NULL OR claimed_at <= ?)`,
    index: 'due',
    first: `ORDER BY ${eta}, id LIMIT ?`,
    bindings: [now, retryBefore, limit],
  }
  const rows = await update<StoredRow>(sql, retries, { set: 'claimed_at = ?', bindings: [now] }, '*')
  return rows.map(taskRow).sort(byEta)
}

/** Tasks recorded at or before `cutoff` whose message no broker has confirmed, oldest first. */
function unpublished({ by }: Dialect, cutoff: number, retryBefore: number, limit: number): Chosen {
  const at = by('unpublished', 'updated_at')
  return {
    table: 'task_result',
    key: 'id',
    where: `finished_at IS NULL AND published_at IS NULL AND eta IS NULL AND ${at} <= ? AND (claimed_at IS NULL OR claimed_at <= ?)`,
    index: 'unpublished',
    first: `ORDER BY ${at}, id LIMIT ?`,
    bindings: [cutoff, retryBefore, limit],
  }
}

/** The same of tasks whose message no broker has confirmed. */
export async function claimUnpublished(sql: Sql, cutoff: number, now: number, retryBefore: number, limit: number): Promise<TaskRow[]> {
  const tasks = unpublished(sql.dialect, cutoff, retryBefore, limit)
  const rows = await update<StoredRow>(sql, tasks, { set: 'claimed_at = ?', bindings: [now] }, '*')
  return rows.map(taskRow).sort(byAge)
}

/** When the next waiting row is due, or null when none waits. Rows that were claimed, or could not be sent, after `retryBefore` do not count. */
export async function nextEta(sql: Sql, retryBefore: number): Promise<number | null> {
  const { by, via } = sql.dialect
  const [row] = await sql.all<{ eta: number }>(
    `SELECT eta FROM ${via('task_result', 'due')} WHERE ${waiting(sql.dialect)} AND (claimed_at IS NULL OR claimed_at <= ?)
      ORDER BY ${by('due', 'eta')}, id LIMIT 1`,
    [retryBefore],
  )
  return row?.eta ?? null
}

/** Whether any of the claims above would find something. Reads only, so a sender with nothing to send never takes the write lock. */
export async function anythingToSend(sql: Sql, cutoff: number, now: number, retryBefore: number): Promise<boolean> {
  const eta = await nextEta(sql, retryBefore)
  if (eta !== null && eta < now) return true
  return (await isAny(sql, abandoned(sql.dialect, cutoff, 1))) || isAny(sql, unpublished(sql.dialect, cutoff, retryBefore, 1))
}

const byEta = (a: TaskRow, b: TaskRow): number => (a.eta?.getTime() ?? 0) - (b.eta?.getTime() ?? 0) || a.id - b.id
const byAge = (a: TaskRow, b: TaskRow): number => a.updatedAt.getTime() - b.updatedAt.getTime() || a.id - b.id
