import type { Binding, Sql } from '../database/sql.js'

interface Turn {
  readonly next_at: number
}

/**
 * Takes the next free turn of a task whose starts are `intervalMs` apart, over all workers: now, when none was taken lately,
 * else after the last one taken. One change of one row, so no two workers get the same turn.
 */
export async function takeTurn(sql: Sql, task: string, intervalMs: number, now: number): Promise<number> {
  const { upsert, greatest, returning } = sql.dialect
  const text = `INSERT INTO task_rate (task, next_at) VALUES (?, ?) ${upsert('task')} next_at = ${greatest}(task_rate.next_at, ?) + ?`
  const bindings = [task, now + intervalMs, now, intervalMs]
  const [row] = returning ? await sql.all<Turn>(`${text} RETURNING next_at`, bindings) : await afterwards(sql, text, bindings)
  return (row?.next_at ?? now + intervalMs) - intervalMs
}

/** In the same transaction, which has the row to itself. */
async function afterwards(sql: Sql, text: string, bindings: readonly Binding[]): Promise<Turn[]> {
  await sql.run(text, bindings)
  return sql.all<Turn>('SELECT next_at FROM task_rate WHERE task = ?', bindings.slice(0, 1))
}
