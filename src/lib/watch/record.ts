import { REJECTED } from '../celery/error.js'
import type { TaskEvent } from '../celery/events.js'
import { foldEvents } from '../celery/fold.js'
import { setbacksIn } from '../celery/setbacks.js'
import type { WatchedTask } from '../celery/watched-task.js'
import type { Sql } from '../database/sql.js'
import { attemptsOf } from '../ledger/attempts.js'
import { findTask } from '../ledger/find.js'
import type { TaskRow } from '../ledger/row.js'
import { isWatched, recordSetback, recordWatched, updateWatched } from '../ledger/watched.js'
import { columnsOf, type RowTerms, taskOf } from './watched-row.js'

/** `early`: more is expected in a moment, and nothing was written; `ours`: the row is not a watch's; `known`: nothing new. */
export type Recorded = 'recorded' | 'changed' | 'early' | 'ours' | 'known'

/** Events of one task, at least one. */
export type EventsOfTask = readonly [TaskEvent, ...TaskEvent[]]

/**
 * Writes what events tell of their task. A row that our own program published or works on, and one that has ended, stays as it is.
 *
 * @param watched the cluster, as rows name it
 * @param patient whether to wait for what usually comes a moment later: the name, and the queue of a task that has ended
 */
export async function recordEvents(
  sql: Sql,
  events: EventsOfTask,
  watched: string,
  terms: RowTerms,
  patient: boolean,
  now: number,
): Promise<Recorded> {
  const row = await findTask(sql, events[0].id)
  if (row && !isWatched(row)) return 'ours'
  const before = row && taskOf(row, row.errorType === null ? [] : await attemptsOf(sql, row.taskId))
  const task = before === null || before.finishedAt === null ? foldEvents(before, events) : before
  if (patient && task !== before && isEarly(task)) return 'early'
  for (const { kind, host, error, at } of setbacksIn(events)) await recordSetback(sql, task.id, kind, host, error, at)
  if (before && isSame(task, before)) return 'known'
  await write(sql, task, row, watched, terms, now)
  return row ? 'changed' : 'recorded'
}

const isEarly = ({ task, queue, finishedAt }: WatchedTask): boolean => task === null || (finishedAt !== null && queue === null)

const isSame = (a: WatchedTask, b: WatchedTask): boolean => text(a) === text(b)
const text = (task: WatchedTask): string => JSON.stringify(Object.entries(task).sort(([a], [b]) => (a < b ? -1 : 1)))

async function write(sql: Sql, task: WatchedTask, row: TaskRow | null, watched: string, terms: RowTerms, now: number): Promise<void> {
  const { columns, options } = columnsOf(task, row, terms, now)
  if (row) await updateWatched(sql, task.id, columns, JSON.stringify(options))
  else await recordWatched(sql, task.id, columns, JSON.stringify(withoutNulls({ watched, ...options })))
  const { error, host, finishedAt } = task
  if (task.status !== 'FAILURE' || !error || host === null || finishedAt === null) return
  await recordSetback(sql, task.id, error === REJECTED ? 'rejected' : 'failure', host, error, finishedAt)
}

const withoutNulls = (options: object): object => Object.fromEntries(Object.entries(options).filter(([, value]) => value !== null))
