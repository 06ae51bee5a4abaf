import type { Sql } from '../database/sql.js'
import { type StoredRow, type TaskRow, taskRow } from './row.js'

export async function findTask(sql: Sql, taskId: string): Promise<TaskRow | null> {
  const [row] = await sql.all<StoredRow>('SELECT * FROM task_result WHERE task_id = ?', [taskId])
  return row ? taskRow(row) : null
}

/** Has these rows stay as they are until the commit, so that what is read of them then holds in it. */
export async function lockTasks(sql: Sql, taskIds: readonly string[]): Promise<void> {
  const { among, locked } = sql.dialect
  if (locked) await sql.all(`SELECT 1 FROM task_result WHERE ${among('task_id')} ORDER BY task_id${locked}`, [JSON.stringify(taskIds)])
}

/** The few columns a waiting caller looks at again and again. */
export async function statusOf(sql: Sql, taskId: string): Promise<{ readonly status: string; readonly finished: boolean } | null> {
  const [row] = await sql.all<{ status: string; finished: number }>(
    'SELECT status, finished_at IS NOT NULL AS finished FROM task_result WHERE task_id = ?',
    [taskId],
  )
  return row ? { status: row.status, finished: row.finished === 1 } : null
}

/** One of these ids that is recorded already, or null. */
export async function findTaken(sql: Sql, taskIds: readonly string[], groupIds: readonly string[]): Promise<string | null> {
  const [row] = await sql.all<{ id: string }>(
    `SELECT task_id AS id FROM task_result WHERE ${sql.dialect.among('task_id')}
      UNION ALL SELECT group_id FROM task_group WHERE ${sql.dialect.among('group_id')} LIMIT 1`,
    [JSON.stringify(taskIds), JSON.stringify(groupIds)],
  )
  return row?.id ?? null
}

/** Ids that begin with `prefix`, in order: what a shortened id may mean. */
export async function findIds(sql: Sql, prefix: string, limit: number): Promise<string[]> {
  const rows = await sql.all<{ task_id: string }>(
    'SELECT task_id FROM task_result WHERE task_id >= ? AND task_id < ? ORDER BY task_id LIMIT ?',
    [prefix, `${prefix}\u{10FFFF}`, limit],
  )
  return rows.map((row) => row.task_id)
}

/** The ids of the copies an operator sent of a task, in the order they were sent. */
export async function retriesOf(sql: Sql, taskId: string): Promise<string[]> {
  const rows = await sql.all<{ task_id: string }>(
    'SELECT task_id FROM task_result WHERE retry_of = ? AND retry_of IS NOT NULL ORDER BY id',
    [taskId],
  )
  return rows.map((row) => row.task_id)
}

/** The ids of the tasks that a task's body published, in the order they were recorded. */
export async function childrenOf(sql: Sql, taskId: string): Promise<string[]> {
  const rows = await sql.all<{ task_id: string }>(
    'SELECT task_id FROM task_result WHERE parent_id = ? AND parent_id IS NOT NULL ORDER BY id',
    [taskId],
  )
  return rows.map((row) => row.task_id)
}
