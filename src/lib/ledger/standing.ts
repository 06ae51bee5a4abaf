import type { Sql } from '../database/sql.js'
import type { Json } from '../task/json.js'
import { jsonOrText } from './row.js'

/** How far a task is. */
export interface Standing {
  readonly status: string
  readonly finished: boolean
  /** The task that stands in its place: one sent for a scheduled task, or what a task was replaced with. */
  readonly successor: string | null
}

/** What a task ended with. */
export interface Ended {
  readonly taskId: string
  readonly status: string
  readonly result: Json
  readonly errorType: string | null
  readonly errorMessage: string | null
  readonly traceback: string | null
}

interface StoredStanding {
  readonly task_id: string
  readonly status: string
  readonly finished: number
  readonly successor: string | null
}

/** The few columns a waiting caller looks at again and again, for many tasks in one statement. An id without a row is left out. */
export async function standingsOf(sql: Sql, taskIds: readonly string[]): Promise<Map<string, Standing>> {
  const rows = await sql.all<StoredStanding>(
    `SELECT task_id, status, finished_at IS NOT NULL AS finished, CASE
         WHEN status = 'SCHEDULED_SENT' THEN scheduled_id
         WHEN status = 'IGNORED' THEN ${sql.dialect.field('result', 'replaced_by')} END AS successor
       FROM task_result WHERE ${sql.dialect.among('task_id')}`,
    [JSON.stringify(taskIds)],
  )
  return new Map(rows.map(({ task_id, status, finished, successor }) => [task_id, { status, finished: finished === 1, successor }]))
}

interface StoredEnd {
  readonly task_id: string
  readonly status: string
  readonly result: string | null
  readonly error_type: string | null
  readonly error_message: string | null
  readonly traceback: string | null
}

/** What these tasks ended with, by their ids. One that has not ended is left out. */
export async function endsOf(sql: Sql, taskIds: readonly string[]): Promise<Map<string, Ended>> {
  const rows = await sql.all<StoredEnd>(
    `SELECT task_id, status, result, error_type, error_message, traceback FROM task_result
      WHERE finished_at IS NOT NULL AND ${sql.dialect.among('task_id')}`,
    [JSON.stringify(taskIds)],
  )
  const ended = ({ task_id, status, result, error_type, error_message, traceback }: StoredEnd): Ended => ({
    taskId: task_id,
    status,
    result: jsonOrText(result),
    errorType: error_type,
    errorMessage: error_message,
    traceback,
  })
  return new Map(rows.map((row) => [row.task_id, ended(row)]))
}
