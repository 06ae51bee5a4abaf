import { update } from '../database/change.js'
import { runEach, type Sql } from '../database/sql.js'
import type { Json } from '../task/json.js'
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

/** An end: when, and until when the result is kept (null: for ever). */
export interface End {
  readonly at: number
  readonly resultExpiresAt: number | null
}

const OWNED = 'task_id = ? AND worker_id = ? AND deliveries = ? AND retries = ? AND finished_at IS NULL AND lease_until IS NOT NULL'
const owned = (owner: Owner) => [owner.taskId, owner.workerId, owner.deliveries, owner.retries]

/** Open, and not running under a live lease. A scheduled row is not for a worker to take. */
const FREE = "task_id = ? AND finished_at IS NULL AND status <> 'SCHEDULED' AND (lease_until IS NULL OR lease_until <= ?)"

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

const SUCCEED = `UPDATE task_result SET status = 'SUCCESS', result = ?, error_type = NULL, error_message = NULL, traceback = NULL,
  lease_until = NULL, updated_at = ?, finished_at = ?, result_expires_at = ? WHERE ${OWNED}`

/** A task that succeeded, to be ended by its owner. */
export interface Success {
  readonly owner: Owner
  /** The result's JSON; null for a null result, or one that is not kept. */
  readonly result: string | null
  readonly end: End
}

const succeeded = ({ owner, result, end }: Success) => [result, end.at, end.at, end.resultExpiresAt, ...owned(owner)]

/** STARTED → SUCCESS, by its owner. */
export async function moveToSuccess(sql: Sql, owner: Owner, result: string | null, end: End): Promise<boolean> {
  return (await sql.run(SUCCEED, succeeded({ owner, result, end }))) === 1
}

/** The same for many. Answers for each whether it was its owner's. */
export async function moveAllToSuccess(sql: Sql, successes: readonly Success[]): Promise<boolean[]> {
  return (await runEach(sql, SUCCEED, successes.map(succeeded))).map((rows) => rows === 1)
}

const FAIL = `status = 'FAILURE', error_type = ?, error_message = ?, traceback = ?, lease_until = NULL, updated_at = ?, finished_at = ?, result_expires_at = ?`
const failed = (error: ErrorRecord, end: End) => [error.type, error.message, error.traceback, end.at, end.at, end.resultExpiresAt]

/** STARTED → FAILURE, by its owner. */
export async function moveToFailure(sql: Sql, owner: Owner, error: ErrorRecord, end: End): Promise<boolean> {
  return (await sql.run(`UPDATE task_result SET ${FAIL} WHERE ${OWNED}`, [...failed(error, end), ...owned(owner)])) === 1
}

/** PENDING, RETRY, or STARTED without a live lease → FAILURE: no worker can run it. */
export async function failUnstarted(sql: Sql, taskId: string, error: ErrorRecord, end: End): Promise<boolean> {
  return (await sql.run(`UPDATE task_result SET ${FAIL} WHERE ${FREE}`, [...failed(error, end), taskId, end.at])) === 1
}

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

const REVOKE = `status = 'REVOKED', error_type = 'TaskRevokedError', error_message = ?, lease_until = NULL, updated_at = ?, finished_at = ?, result_expires_at = ?`

/** PENDING, RETRY, or STARTED without a live lease → REVOKED. */
export async function revokeUnstarted(sql: Sql, taskId: string, reason: string, end: End): Promise<boolean> {
  return (
    (await sql.run(`UPDATE task_result SET ${REVOKE} WHERE ${FREE}`, [reason, end.at, end.at, end.resultExpiresAt, taskId, end.at])) === 1
  )
}

/** SCHEDULED → REVOKED. Once a sender has claimed it, only that sender's claim decides. */
export async function revokeScheduled(sql: Sql, taskId: string, reason: string, end: End): Promise<boolean> {
  const changed = await sql.run(`UPDATE task_result SET ${REVOKE} WHERE task_id = ? AND finished_at IS NULL AND status = 'SCHEDULED'`, [
    reason,
    end.at,
    end.at,
    end.resultExpiresAt,
    taskId,
  ])
  return changed === 1
}

/** SCHEDULED → SCHEDULED_SENT, by the sender whose claim is `scheduledId`. */
export async function moveToScheduledSent(
  sql: Sql,
  taskId: string,
  scheduledId: string,
  stored: StoredArguments,
  end: End,
): Promise<boolean> {
  const result: Json = { new_task_id: scheduledId }
  const changed = await sql.run(
    `UPDATE task_result SET status = 'SCHEDULED_SENT', result = ?, args = ?, kwargs = ?, options = ?, error_type = NULL, error_message = NULL, traceback = NULL,
       updated_at = ?, finished_at = ?, result_expires_at = ? WHERE task_id = ? AND scheduled_id = ? AND status = 'SCHEDULED' AND finished_at IS NULL`,
    [JSON.stringify(result), stored.args, stored.kwargs, stored.options, end.at, end.at, end.resultExpiresAt, taskId, scheduledId],
  )
  return changed === 1
}

/** STARTED → IGNORED, by its owner. */
export async function moveToIgnored(sql: Sql, owner: Owner, end: End): Promise<boolean> {
  const changed = await sql.run(
    `UPDATE task_result SET status = 'IGNORED', error_type = NULL, error_message = NULL, traceback = NULL, lease_until = NULL, updated_at = ?,
       finished_at = ?, result_expires_at = ? WHERE ${OWNED}`,
    [end.at, end.at, end.resultExpiresAt, ...owned(owner)],
  )
  return changed === 1
}

/** STARTED → IGNORED, by its owner: another task has its place, and its result is found under that one's id. */
export async function moveToReplaced(sql: Sql, owner: Owner, replacedBy: string, end: End): Promise<boolean> {
  const result: Json = { replaced_by: replacedBy }
  const changed = await sql.run(
    `UPDATE task_result SET status = 'IGNORED', result = ?, error_type = NULL, error_message = NULL, traceback = NULL, lease_until = NULL, updated_at = ?,
       finished_at = ?, result_expires_at = ? WHERE ${OWNED}`,
    [JSON.stringify(result), end.at, end.at, end.resultExpiresAt, ...owned(owner)],
  )
  return changed === 1
}

/** STARTED → REVOKED, by its owner. */
export async function moveToRevoked(sql: Sql, owner: Owner, reason: string, end: End): Promise<boolean> {
  return (
    (await sql.run(`UPDATE task_result SET ${REVOKE} WHERE ${OWNED}`, [reason, end.at, end.at, end.resultExpiresAt, ...owned(owner)])) === 1
  )
}

/**
 * Any open status → REVOKED, at an operator's word.
 *
 * @param running whether also while a live worker has it
 */
export async function revokeOpen(sql: Sql, taskId: string, reason: string, running: boolean, end: End): Promise<boolean> {
  const free = running ? '' : ' AND (lease_until IS NULL OR lease_until <= ?)'
  const changed = await sql.run(`UPDATE task_result SET ${REVOKE} WHERE task_id = ? AND finished_at IS NULL${free}`, [
    reason,
    end.at,
    end.at,
    end.resultExpiresAt,
    taskId,
    ...(running ? [] : [end.at]),
  ])
  return changed === 1
}

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
