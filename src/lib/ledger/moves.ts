import type { Sql } from '../database/sql.js'
import type { ErrorRecord } from '../task/outcome.js'
import type { StoredArguments } from './arguments.js'

/** The execution that owns a started row. Only it may end the row; nobody else's answer counts. */
export interface Owner {
  readonly taskId: string
  readonly workerId: string
  readonly deliveries: number
  /** Deliveries are counted anew after each retry. */
  readonly retries: number
}

export const OWNED = 'task_id = ? AND worker_id = ? AND deliveries = ? AND retries = ? AND finished_at IS NULL AND lease_until IS NOT NULL'
export const owned = (owner: Owner) => [owner.taskId, owner.workerId, owner.deliveries, owner.retries]

/** Open, and not running under a live lease. A scheduled row is not for a worker to take. */
export const FREE = "task_id = ? AND finished_at IS NULL AND status <> 'SCHEDULED' AND (lease_until IS NULL OR lease_until <= ?)"

/** STARTED → PENDING, by its owner: its message goes back to the queue. `deliveries` stays, so that no older delivery starts it. */
export async function moveToPending(sql: Sql, owner: Owner, now: number): Promise<boolean> {
  const changed = await sql.run(
    `UPDATE task_result SET status = 'PENDING', worker_id = NULL, lease_until = NULL, started_at = NULL, updated_at = ? WHERE ${OWNED}`,
    [now, ...owned(owner)],
  )
  return changed === 1
}

/** What a row waits with until it is sent again. */
export interface Waiting {
  readonly retries: number
  readonly eta: number
  /** Why it has to run again. */
  readonly error: ErrorRecord | null
  readonly stored: StoredArguments
  readonly queue: string
  readonly priority: number
}

/**
 * STARTED → RETRY, by its owner: the row waits for its eta, with the whole of the arguments, until a sender publishes it. It goes
 * straight to its queue, whatever exchange it came through: that may copy it to queues of others.
 */
export async function moveToRetry(sql: Sql, owner: Owner, waiting: Waiting, now: number): Promise<boolean> {
  const { retries, eta, error, stored, queue, priority } = waiting
  const changed = await sql.run(
    `UPDATE task_result SET status = 'RETRY', retries = ?, eta = ?, error_type = ?, error_message = ?, traceback = ?, args = ?, kwargs = ?, options = ?,
       queue = ?, exchange = '', routing_key = ?, priority = ?, worker_id = NULL, lease_until = NULL, published_at = NULL, claimed_at = NULL, deliveries = 0, updated_at = ?
      WHERE ${OWNED}`,
    [retries, eta, ...errorColumns(error), stored.args, stored.kwargs, stored.options, queue, queue, priority, now, ...owned(owner)],
  )
  return changed === 1
}

const errorColumns = (error: ErrorRecord | null) => [error?.type ?? null, error?.message ?? null, error?.traceback ?? null]

/** A started row that was sent through an exchange learns whose queue that led to. */
export async function noteQueue(sql: Sql, owner: Owner, queue: string): Promise<boolean> {
  return (await sql.run(`UPDATE task_result SET queue = ? WHERE ${OWNED}`, [queue, ...owned(owner)])) === 1
}

/** A started row's own word on how it is getting on. */
export async function updateOwned(sql: Sql, owner: Owner, state: string | null, meta: string | null, now: number): Promise<boolean> {
  const changed = await sql.run(
    `UPDATE task_result SET status = coalesce(?, status), meta = coalesce(?, meta), updated_at = ? WHERE ${OWNED}`,
    [state, meta, now, ...owned(owner)],
  )
  return changed === 1
}

/** A row that may not start yet: it waits for its turn as for an eta, and a sender publishes it then. */
export async function postpone(
  sql: Sql,
  taskId: string,
  retries: number,
  eta: number,
  stored: StoredArguments,
  now: number,
): Promise<boolean> {
  const changed = await sql.run(
    `UPDATE task_result SET eta = ?, args = ?, kwargs = ?, options = ?, published_at = NULL, claimed_at = NULL, updated_at = ?
      WHERE ${FREE} AND retries = ?`,
    [eta, stored.args, stored.kwargs, stored.options, now, taskId, now, retries],
  )
  return changed === 1
}

/** A started row says again that its owner lives. False: it is no longer this owner's. */
export async function extendLease(sql: Sql, owner: Owner, leaseUntil: number): Promise<boolean> {
  return (await sql.run(`UPDATE task_result SET lease_until = ? WHERE ${OWNED}`, [leaseUntil, ...owned(owner)])) === 1
}

/** Removes the row of a task whose result nobody wants, and its history, once its execution has ended. */
export async function removeOwned(sql: Sql, owner: Owner): Promise<boolean> {
  const removed = (await sql.run(`DELETE FROM task_result WHERE ${OWNED}`, owned(owner))) === 1
  if (removed) await sql.run('DELETE FROM task_attempt WHERE task_id = ?', [owner.taskId])
  return removed
}
