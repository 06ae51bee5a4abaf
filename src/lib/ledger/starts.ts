import { update } from '../database/change.js'
import { runEach, type Sql } from '../database/sql.js'
import { FREE, type Owner } from './moves.js'

/** What a row is started with. */
export interface Start {
  readonly leaseUntil: number
  readonly maxRetries: number | null
  /** JSON of what the worker's task declares; it is added to the row's own options; null: nothing */
  readonly options: string | null
  /** False: the status stays as it is, and the lease alone tells that the task runs. */
  readonly track: boolean
}

/** @param deliveries the row's own expression of what becomes of them */
function starting(sql: Sql, workerId: string, deliveries: string, { leaseUntil, maxRetries, options, track }: Start, now: number) {
  const status = track ? "status = 'STARTED', " : ''
  const noted = options === null ? null : sql.dialect.patched('options', options)
  return {
    set: `${status}${noted ? `options = ${noted.text}, ` : ''}worker_id = ?, deliveries = ${deliveries}, lease_until = ?, max_retries = ?,
       started_at = ?, updated_at = ?, published_at = coalesce(published_at, ?)`,
    before: [...(noted?.bindings ?? []), workerId],
    after: [leaseUntil, maxRetries, now, now, now],
  }
}

/**
 * PENDING or RETRY → STARTED, and STARTED again after a redelivery.
 *
 * @param owner its retries are the message's own: one that was left over when the row moved on to a retry does not start that retry early
 * @returns false when the row is missing, finished, retried since, started by a later delivery, or running under a live lease
 */
export async function moveToStarted(sql: Sql, owner: Owner, start: Start, now: number): Promise<boolean> {
  const { taskId, workerId, deliveries, retries } = owner
  const { set, before, after } = starting(sql, workerId, '?', start, now)
  const changed = await sql.run(`UPDATE task_result SET ${set} WHERE ${FREE} AND retries = ? AND deliveries <= ?`, [
    ...before,
    deliveries,
    ...after,
    taskId,
    now,
    retries,
    deliveries,
  ])
  return changed === 1
}

/**
 * The same for many that have not been started before. Answers for each whether it was; of two of one task, one is.
 *
 * @param owners all of one worker, each with the first delivery of its task
 */
export async function moveAllToStarted(sql: Sql, owners: readonly Owner[], start: Start, now: number): Promise<boolean[]> {
  const [first] = owners
  if (!first) return []
  const { set, before, after } = starting(sql, first.workerId, '?', start, now)
  const many = owners.map(({ taskId, deliveries, retries }) => [...before, deliveries, ...after, taskId, now, retries])
  const changed = await runEach(sql, `UPDATE task_result SET ${set} WHERE ${FREE} AND retries = ? AND deliveries = 0`, many)
  return changed.map((rows) => rows === 1)
}

/**
 * The same for a broker that does not count deliveries: the row does.
 *
 * @param again whether a row that was started and whose lease has run out may be started again
 * @returns how often it has been delivered; null: it was not to be started
 */
export async function moveToStartedAndCount(
  sql: Sql,
  { taskId, workerId, retries }: Omit<Owner, 'deliveries'>,
  start: Start,
  again: boolean,
  now: number,
): Promise<number | null> {
  const { set, before, after } = starting(sql, workerId, 'deliveries + 1', start, now)
  const where = `${FREE} AND retries = ?${again ? '' : ' AND lease_until IS NULL'}`
  const rows = { table: 'task_result', key: 'task_id', where, bindings: [taskId, now, retries] }
  const [row] = await update<{ deliveries: number }>(sql, rows, { set, bindings: [...before, ...after] }, 'deliveries')
  return row?.deliveries ?? null
}

/** Whether this very execution is running under a live lease. */
export async function isRunning(sql: Sql, taskId: string, retries: number, now: number): Promise<boolean> {
  const found = await sql.all('SELECT 1 FROM task_result WHERE task_id = ? AND finished_at IS NULL AND lease_until > ? AND retries = ?', [
    taskId,
    now,
    retries,
  ])
  return found.length > 0
}
