import { type Chosen, isAny, update } from '../database/change.js'
import type { Sql } from '../database/sql.js'

/** What Celery's clients are still to be told of a task, and the store of their results has not confirmed. */
export interface Untold {
  readonly taskId: string
  readonly status: string
  /** When the task came to it. */
  readonly at: number
  /** JSON of the whole. */
  readonly ending: string
}

/** Writes a line, in the commit of what it tells of; a later end takes the place of a retry that nobody was told of yet. */
export async function keepUntold(sql: Sql, { taskId, status, at, ending }: Untold, heldUntil: number): Promise<void> {
  const { upsert, excluded } = sql.dialect
  const changed = ['status', 'ended_at', 'ending', 'held_until'].map((column) => `${column} = ${excluded(column)}`)
  await sql.run(
    `INSERT INTO celery_outbox (task_id, status, ended_at, ending, held_until) VALUES (?, ?, ?, ?, ?) ${upsert('task_id')} ${changed.join(', ')}`,
    [taskId, status, at, ending, heldUntil],
  )
}

/** Lines that nobody holds any more: the process that wrote them died, or the store was away. The oldest first. */
const free = (now: number, limit: number): Chosen => ({
  table: 'celery_outbox',
  key: 'task_id',
  where: 'held_until <= ?',
  index: 'held',
  first: 'ORDER BY held_until, task_id LIMIT ?',
  bindings: [now, limit],
})

/** Whether `claimUntold` would find something. Reads only. */
export const anythingUntold = (sql: Sql, now: number): Promise<boolean> => isAny(sql, free(now, 1))

/** Takes them up. */
export async function claimUntold(sql: Sql, now: number, heldUntil: number, limit: number): Promise<string[]> {
  const taken = { set: 'held_until = ?', bindings: [heldUntil] }
  const rows = await update<{ ending: string; ended_at: number }>(sql, free(now, limit), taken, 'ending, ended_at')
  return rows.sort((a, b) => a.ended_at - b.ended_at).map((row) => row.ending)
}

/** The clients have been told. A line that tells of a later end meanwhile stays. */
export async function removeTold(sql: Sql, { taskId, status, at }: Omit<Untold, 'ending'>): Promise<void> {
  await sql.run('DELETE FROM celery_outbox WHERE task_id = ? AND status = ? AND ended_at = ?', [taskId, status, at])
}
