import type { Database } from '../database/database.js'
import { recordAttempt } from '../ledger/attempts.js'
import { failLost, findRescuable, retryLost } from '../ledger/lost.js'
import type { TaskRow } from '../ledger/row.js'
import type { Follower } from '../publish/follow.js'
import { type Failpoint, NO_FAILPOINT } from '../task/failpoint.js'
import type { ErrorRecord } from '../task/outcome.js'
import type { WorkerEvent } from './events.js'

/** Rows looked at in one pass; the next pass goes on. */
const BATCH = 100

const lost = (row: TaskRow): ErrorRecord => ({
  type: 'WorkerLostError',
  message: `its worker ${row.workerId} has been silent since its lease ran out at ${row.leaseUntil?.toISOString()}`,
  traceback: null,
})

/**
 * Settles what lost workers left, as each task's `onWorkerLost` says. Every move is guarded by the very lease that ran
 * out, so a worker that comes back, and any other rescuer, finds the row moved or moves it first.
 *
 * @param resultExpires seconds; null: for ever
 */
export async function rescueLost(
  database: Database,
  follower: Follower,
  resultExpires: number | null,
  emit: (event: WorkerEvent) => void,
  now: number,
  failpoint: Failpoint = NO_FAILPOINT,
): Promise<number> {
  const rows = await findRescuable(database, now, BATCH)
  for (const row of rows.filter(({ options }) => options.onWorkerLost !== undefined)) {
    const error = lost(row)
    const left = row.maxRetries === null || row.retries < row.maxRetries
    const retries = row.options.onWorkerLost === 'retry' && left && row.options.redacted === undefined
    const kept = row.options.resultExpires === undefined ? resultExpires : row.options.resultExpires
    const end = { at: now, resultExpiresAt: kept === null ? null : now + kept * 1000 }
    await failpoint('rescue:before')
    const moved = await database.write(async (sql) => {
      const done = retries ? await retryLost(sql, row, error, now) : await failLost(sql, row, error, end)
      if (done) await recordAttempt(sql, row.taskId, 'lost', row.workerId, error, now)
      return done && { following: retries ? [] : await follower.followRow(sql, row, { status: 'FAILURE', error }) }
    })
    await failpoint('rescue:committed')
    if (!moved) continue
    await follower.send(moved.following)
    emit({ kind: 'lost', id: row.taskId, task: row.task, retries: row.retries, error, retried: retries })
  }
  return rows.length
}
