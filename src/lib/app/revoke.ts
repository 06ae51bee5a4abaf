import type { Sql } from '../database/sql.js'
import { revokeOpen } from '../ledger/ends.js'
import { findTask, lockTasks } from '../ledger/find.js'
import { endedMessage, type TaskRow } from '../ledger/row.js'
import { standingsOf } from '../ledger/standing.js'
import { isWatched } from '../ledger/watched.js'
import { revokedFor, type Unsent } from '../publish/follow.js'
import type { TaskMessage } from '../task/message.js'
import { isFinal } from '../task/status.js'
import { aheadOf, type Before } from './ahead.js'
import type { Parts } from './parts.js'
import { currentStandings } from './waiting.js'

/** What became of one task that was to be revoked. */
export interface Revoked {
  readonly taskId: string
  readonly task: string | null
  readonly revoked: boolean
  /** Why it was not. */
  readonly error: string | null
}

/**
 * Makes one row REVOKED, unless it has ended; a running one only with `terminate`, and its worker then stops it. Its message
 * goes with it where the broker lives in the same database; elsewhere a worker that gets it finds the row ended. What would
 * have followed it in a workflow ends with it.
 */
export async function revoke(parts: Parts, taskId: string, terminate: boolean, before?: Before): Promise<Revoked> {
  const [revoked] = await revokeAll(parts, [taskId], terminate, before)
  return revoked ?? answer(taskId, null, false)
}

/**
 * Revokes these tasks, in one commit with what is open of those before them, and so with all that is not sent yet. One before
 * them that runs goes on without `terminate`, and nothing follows it.
 */
export async function revokeAll(
  { database, broker, follower, settings, now, failpoint }: Parts,
  taskIds: readonly string[],
  terminate: boolean,
  before: Before = { taskIds: [], groupIds: [] },
): Promise<Revoked[]> {
  const at = now()
  const { resultExpires } = settings
  const end = { at, resultExpiresAt: resultExpires === null ? null : at + resultExpires * 1000 }
  const reason = terminate ? 'terminated' : 'revoked'
  const asked = new Set(taskIds)
  const revokeOne = async (sql: Sql, taskId: string): Promise<readonly Unsent[]> => {
    if (isCelerys(await findTask(sql, taskId))) return []
    const moved = await revokeOpen(sql, taskId, reason, terminate, end)
    const row = await findTask(sql, taskId)
    if (!row) return []
    if (moved) await broker.within?.(sql).drop([taskId])
    if (moved) return follower.followRow(sql, row, revokedFor(reason))
    return asked.has(taskId) || isFinal(row.status) ? [] : follower.followUnended(sql, withoutLinks(row), revokedFor(reason))
  }
  await failpoint('revoke:before')
  const { unsent, ended } = await database.write(async (sql) => {
    const leading = await withAhead(sql, before, taskIds)
    const all = [...(await currentStandings(sql, leading.taskIds)).ids, ...taskIds]
    await lockTasks(sql, all)
    const standings = await standingsOf(sql, all)
    const left: Unsent[] = []
    for (const taskId of all) if (standings.get(taskId)?.finished === false) left.push(...(await revokeOne(sql, taskId)))
    for (const groupId of leading.groupIds) left.push(...(await follower.abandon(sql, groupId, reason)))
    return { unsent: left, ended: new Set(taskIds.filter((taskId) => standings.get(taskId)?.finished)) }
  })
  await failpoint('revoke:committed')
  await follower.send(unsent)
  const answers: Revoked[] = []
  for (const taskId of taskIds) answers.push(answer(taskId, await findTask(database, taskId), ended.has(taskId)))
  return answers
}

/** A task that has no row yet may be one that a workflow is still to send: what is before it is revoked, too. */
async function withAhead(sql: Sql, before: Before, taskIds: readonly string[]): Promise<Before> {
  const recorded = await standingsOf(sql, taskIds)
  const all = [before]
  for (const taskId of taskIds) if (!recorded.has(taskId)) all.push((await aheadOf(sql, taskId)) ?? before)
  return {
    taskIds: [...new Set(all.flatMap((one) => one.taskIds))],
    groupIds: [...new Set(all.flatMap((one) => one.groupIds))],
  }
}
/** What Celery's workers have is not stopped by a row: it takes their own control command. */
const isCelerys = (row: TaskRow | null): boolean => row !== null && isWatched(row)

/** Of a task that goes on: its steps after it end, its callbacks and errbacks are its own. */
function withoutLinks(row: TaskRow): TaskMessage {
  const message = endedMessage(row)
  const { link: _, linkError: __, ...options } = message.options
  return { ...message, groupId: null, groupIndex: null, options }
}

function answer(taskId: string, row: TaskRow | null, endedBefore: boolean): Revoked {
  if (!row) return { taskId, task: null, revoked: false, error: 'there is no task of this id' }
  const { task, status, workerId, deliveries, options } = row
  if (isFinal(status)) return { taskId, task, revoked: !endedBefore, error: endedBefore ? `it has ended ${status}` : null }
  if (isCelerys(row)) return { taskId, task, revoked: false, error: `it is a task of Celery's: celery control revoke ${taskId}` }
  if (options.heardFrom !== undefined && deliveries === 0)
    return { taskId, task, revoked: false, error: `Celery's worker ${workerId} is running it: celery control terminate TERM ${taskId}` }
  return { taskId, task, revoked: false, error: `worker ${workerId} is running it; --terminate stops it` }
}
