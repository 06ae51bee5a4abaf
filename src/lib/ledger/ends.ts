import { runEach, type Sql } from '../database/sql.js'
import type { Json } from '../task/json.js'
import type { ErrorRecord } from '../task/outcome.js'
import type { StoredArguments } from './arguments.js'
import { FREE, OWNED, type Owner, owned } from './moves.js'

/** An end: when, and until when the result is kept (null: for ever). */
export interface End {
  readonly at: number
  readonly resultExpiresAt: number | null
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
