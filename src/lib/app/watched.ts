import type { Sql } from '../database/sql.js'
import type { TaskRow } from '../ledger/row.js'
import { isWatched } from '../ledger/watched.js'
import { watchOf } from '../ledger/watched-workers.js'
import type { ResendTerms } from '../publish/resend.js'
import { isFinal } from '../task/status.js'

/** Why a copy of this row is not to be sent, when it is of a task that is Celery's or was run there. Null: it may be, or is another. */
export async function refusalOfWatched(row: TaskRow, terms: ResendTerms, broker: string, sql: Sql, nowMs: number): Promise<string | null> {
  const { watched, heardFrom } = row.options
  if (heardFrom !== undefined && row.deliveries === 0) return terms.force ? null : unseen(row, heardFrom, sql, nowMs)
  if (watched === undefined || !isWatched(row)) return null
  if (!/^amqps?:/.test(broker)) {
    const scheme = broker.slice(0, broker.indexOf(':') + 1)
    return `it is a task of Celery's (${watched}), and the broker ${scheme} leads to none of its workers; give --broker amqp://…`
  }
  if (row.queue === '' && terms.queue === undefined) return 'its queue is not known: no event told it; --to-queue names one'
  return terms.force ? null : unseen(row, watched, sql, nowMs)
}

/** An open row tells what was seen last. If nobody watched for a while since then, the task may have ended meanwhile. */
async function unseen(row: TaskRow, watched: string, sql: Sql, nowMs: number): Promise<string | null> {
  if (isFinal(row.status)) return null
  const watch = await watchOf(sql, watched)
  if (watch && watch.leaseUntil > nowMs && watch.since <= row.updatedAt.getTime()) return null
  return `it was last heard of at ${row.updatedAt.toISOString()}, and was not watched all the time since: it may have ended; --force sends it`
}
