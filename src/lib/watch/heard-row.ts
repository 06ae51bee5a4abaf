import type { EventsOfTask, TaskEvent } from '../celery/events.js'
import { foldEvents } from '../celery/fold.js'
import type { WatchedTask } from '../celery/watched-task.js'
import type { Sql } from '../database/sql.js'
import { attemptsOf } from '../ledger/attempts.js'
import { cutPublished } from '../ledger/record.js'
import { endedMessage, type TaskRow } from '../ledger/row.js'
import { updateHeard } from '../ledger/watched.js'
import { heardColumnsOf, type RowTerms, taskOf } from './watched-row.js'

/**
 * What of these events is about the message that a task of ours was published with; null: nothing. A program that tells of a message it
 * sent says nothing of ours, and one of an earlier attempt is not that of a retry which waits for a worker of ours.
 */
export function heardOf(row: TaskRow, events: EventsOfTask): EventsOfTask | null {
  const [first, ...others] = events.filter(({ kind }) => kind !== 'sent')
  if (!first) return null
  const isOfRetry = (event: TaskEvent): boolean => event.kind === 'received' && event.retries >= row.retries
  const isCelerys = row.options.heardFrom !== undefined || row.retries === 0 || [first, ...others].some(isOfRetry)
  return isCelerys ? [first, ...others] : null
}

/** Writes what they tell. Returns the task as they leave it; null: it has ended, or a worker of ours has it meanwhile. */
export async function recordHeard(
  sql: Sql,
  row: TaskRow,
  events: EventsOfTask,
  watched: string,
  terms: RowTerms,
  now: number,
): Promise<WatchedTask | null> {
  const task = foldEvents(taskOf(row, row.errorType === null ? [] : await attemptsOf(sql, row.taskId)), events)
  const { columns, options } = heardColumnsOf(task, row, terms, now)
  if (!(await updateHeard(sql, row, columns, JSON.stringify({ heardFrom: watched, ...options })))) return null
  if (row.publishedAt === null) await cut(sql, row, task.retries, terms)
  return task
}

/** A row that waits to be sent holds what the ledger must not keep of one that was. */
async function cut(sql: Sql, row: TaskRow, retries: number, { redaction }: RowTerms): Promise<void> {
  const message = { ...endedMessage(row), retries }
  if (redaction.cuts(message)) await cutPublished(sql, message, redaction.stored(message, true))
}
