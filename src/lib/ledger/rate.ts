import type { Sql } from '../database/sql.js'

/**
 * Takes the next free turn of a task whose starts are `intervalMs` apart, over all workers: now, when none was taken lately,
 * else after the last one taken. One statement, so no two workers get the same turn.
 */
export async function takeTurn(sql: Sql, task: string, intervalMs: number, now: number): Promise<number> {
  const [row] = await sql.all<{ next_at: number }>(
    `INSERT INTO task_rate (task, next_at) VALUES (?, ?)
     ON CONFLICT (task) DO UPDATE SET next_at = ${sql.dialect.greatest}(task_rate.next_at, ?) + ? RETURNING next_at`,
    [task, now + intervalMs, now, intervalMs],
  )
  return (row?.next_at ?? now + intervalMs) - intervalMs
}
