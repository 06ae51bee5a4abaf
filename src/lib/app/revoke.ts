import { findTask } from '../ledger/find.js'
import { revokeOpen } from '../ledger/moves.js'
import { isFinal } from '../task/status.js'
import type { Parts } from './parts.js'

/** What became of one task that was to be revoked. */
export interface Revoked {
  readonly taskId: string
  readonly task: string | null
  readonly revoked: boolean
  /** Why it was not. */
  readonly error: string | null
}

/** Makes one row REVOKED, unless it has ended; a running one only with `terminate`, and its worker then stops it. */
export async function revoke({ database, settings, now, failpoint }: Parts, taskId: string, terminate: boolean): Promise<Revoked> {
  const at = now()
  const { resultExpires } = settings
  const end = { at, resultExpiresAt: resultExpires === null ? null : at + resultExpires * 1000 }
  await failpoint('revoke:before')
  const revoked = await database.write((sql) => revokeOpen(sql, taskId, terminate ? 'terminated' : 'revoked', terminate, end))
  await failpoint('revoke:committed')
  const row = await findTask(database, taskId)
  if (revoked || !row) return { taskId, task: row?.task ?? null, revoked, error: row ? null : 'there is no task of this id' }
  const error = isFinal(row.status) ? `it has ended ${row.status}` : `worker ${row.workerId} is running it; --terminate stops it`
  return { taskId, task: row.task, revoked, error }
}
