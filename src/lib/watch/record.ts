import type { TaskEnd } from '../canvas/settle.js'
import { REJECTED } from '../celery/error.js'
import type { EventsOfTask } from '../celery/events.js'
import { foldEvents } from '../celery/fold.js'
import { setbacksIn } from '../celery/setbacks.js'
import { callsErrbacks, type WatchedTask } from '../celery/watched-task.js'
import type { Sql } from '../database/sql.js'
import { attemptsOf } from '../ledger/attempts.js'
import { findTask } from '../ledger/find.js'
import type { TaskRow } from '../ledger/row.js'
import { isWatched, recordSetback, recordWatched, updateWatched } from '../ledger/watched.js'
import type { Unsent } from '../publish/follow.js'
import { isPart } from '../task/message.js'
import { heardOf, recordHeard } from './heard-row.js'
import type { Part } from './next-steps.js'
import { columnsOf, type RowTerms, taskOf } from './watched-row.js'

/** `early`: more is expected in a moment, and nothing was written; `ours`: the row is not a watch's to change; `known`: nothing new. */
export type Recorded = 'recorded' | 'changed' | 'early' | 'ours' | 'known'

export interface Recording {
  readonly recorded: Recorded
  /** What is to be handed over once the commit is written. */
  readonly unsent: readonly Unsent[]
}

const nothing = (recorded: Recorded): Recording => ({ recorded, unsent: [] })

/**
 * Writes what events tell of their task, and with its end what Celery leaves to follow it. A row that a worker of our own has, and one
 * that has ended, stays as it is.
 *
 * @param watched the cluster, as rows name it
 * @param patient whether to wait for what usually comes a moment later: the name, what has sent the task, and the queue of one that has ended
 */
export async function recordEvents(
  sql: Sql,
  events: EventsOfTask,
  watched: string,
  terms: RowTerms,
  patient: boolean,
  now: number,
): Promise<Recording> {
  const row = await findTask(sql, events[0].id)
  if (!row || isWatched(row)) return recordOfOthers(sql, row, events, watched, terms, patient, now)
  const heard = heardOf(row, events)
  const task = heard && (await recordHeard(sql, row, heard, watched, terms, now))
  if (!task) return nothing('ours')
  await recordLines(sql, task, events)
  return { recorded: 'changed', unsent: await follow(sql, row, task, terms) }
}

/** The same for a task that nobody here has published. */
async function recordOfOthers(
  sql: Sql,
  row: TaskRow | null,
  events: EventsOfTask,
  watched: string,
  terms: RowTerms,
  patient: boolean,
  now: number,
): Promise<Recording> {
  const before = row && taskOf(row, row.errorType === null ? [] : await attemptsOf(sql, row.taskId))
  const task = before === null || before.finishedAt === null ? foldEvents(before, events) : before
  if (before && isSame(task, before)) {
    await recordSetbacks(sql, events)
    return nothing('known')
  }
  const part = await partOf(sql, task, row, terms)
  if (patient && isEarly(task, part)) return nothing('early')
  if (!(await write(sql, task, row, part, watched, terms, now))) return nothing(row ? 'ours' : 'early') // somebody has written it meanwhile
  await recordLines(sql, task, events)
  const whole = part ? await findTask(sql, task.id) : row
  return { recorded: row ? 'changed' : 'recorded', unsent: whole ? await follow(sql, whole, task, terms) : [] }
}

async function write(
  sql: Sql,
  task: WatchedTask,
  row: TaskRow | null,
  part: Part | null | undefined,
  watched: string,
  terms: RowTerms,
  now: number,
): Promise<boolean> {
  const { columns, options } = columnsOf(task, row, part ?? null, terms, now)
  if (row) return updateWatched(sql, task.id, columns, JSON.stringify(options))
  return recordWatched(sql, task.id, columns, JSON.stringify(withoutNulls({ watched, ...options })))
}

const isEarly = ({ task, queue, finishedAt }: WatchedTask, part: Part | null | undefined): boolean =>
  task === null || (finishedAt !== null && queue === null) || part === undefined

/**
 * What is news of it as a part of a workflow of ours. Undefined: its parent may still come to be heard of; if it does not in time, it is
 * asked for once more when the task has ended.
 */
async function partOf(sql: Sql, task: WatchedTask, row: TaskRow | null, { steps }: RowTerms): Promise<Part | null | undefined> {
  const { id, parentId, finishedAt } = task
  const isAsked = row === null || (!isPart(row) && (row.parentId === null || finishedAt !== null))
  const found = parentId !== null && isAsked ? await steps.find(sql, id, parentId) : null
  return found === undefined && row ? null : found
}

const isSame = (a: WatchedTask, b: WatchedTask): boolean => text(a) === text(b)
const text = (task: WatchedTask): string => JSON.stringify(Object.entries(task).sort(([a], [b]) => (a < b ? -1 : 1)))

/** What Celery leaves to follow the end of a task, if it has ended. */
async function follow(sql: Sql, row: TaskRow, task: WatchedTask, { follower }: RowTerms): Promise<readonly Unsent[]> {
  const end = endOf(task)
  return end ? follower.followCelerys(sql, row, end, callsErrbacks(task)) : []
}

function endOf({ status, result, error }: WatchedTask): TaskEnd | null {
  if (status === 'SUCCESS') return { status, value: result ? JSON.parse(result.json) : null }
  return error && (status === 'FAILURE' || status === 'REVOKED') ? { status, error } : null
}

async function recordSetbacks(sql: Sql, events: EventsOfTask): Promise<void> {
  for (const { kind, host, error, at } of setbacksIn(events)) await recordSetback(sql, events[0].id, kind, host, error, at)
}

/** Its history. */
async function recordLines(sql: Sql, { id, status, error, host, finishedAt }: WatchedTask, events: EventsOfTask): Promise<void> {
  await recordSetbacks(sql, events)
  if (status !== 'FAILURE' || !error || host === null || finishedAt === null) return
  await recordSetback(sql, id, error === REJECTED ? 'rejected' : 'failure', host, error, finishedAt)
}

const withoutNulls = (options: object): object => Object.fromEntries(Object.entries(options).filter(([, value]) => value !== null))
