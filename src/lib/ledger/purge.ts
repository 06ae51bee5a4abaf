import type { Binding, Sql } from '../database/sql.js'

/** Which finished rows may go. Open rows never do. */
export interface PurgeBound {
  /** Finished at or before. */
  readonly cutoff?: Date
  /** Whose result has expired at this instant. */
  readonly expiredAt?: Date
  readonly statuses?: readonly string[]
}

function where(bound: PurgeBound): { text: string; bindings: Binding[] } {
  const parts = ['finished_at IS NOT NULL']
  const bindings: Binding[] = []
  if (bound.expiredAt) {
    parts.push('result_expires_at IS NOT NULL AND result_expires_at <= ?')
    bindings.push(bound.expiredAt.getTime())
  } else {
    parts.push('finished_at <= ?')
    bindings.push(bound.cutoff?.getTime() ?? Number.MAX_SAFE_INTEGER)
  }
  if (bound.statuses) {
    parts.push('status IN (SELECT value FROM json_each(?))')
    if (!bound.statuses.includes('SUCCESS')) parts.push("status <> 'SUCCESS'") // says that the index of the unhappy will do
    bindings.push(JSON.stringify(bound.statuses))
  }
  return { text: parts.join(' AND '), bindings }
}

const ORDER = (bound: PurgeBound): string => (bound.expiredAt ? 'result_expires_at' : 'finished_at')

export async function countPurgeable(sql: Sql, bound: PurgeBound): Promise<number> {
  const { text, bindings } = where(bound)
  const [row] = await sql.all<{ n: number }>(`SELECT count(*) AS n FROM task_result WHERE ${text}`, bindings)
  return row?.n ?? 0
}

/** Deletes at most `limit` rows, the longest finished first, with their history; run it inside one commit. Returns how many. */
export async function purgeBatch(sql: Sql, bound: PurgeBound, limit: number): Promise<number> {
  const { text, bindings } = where(bound)
  const gone = await sql.all<{ task_id: string }>(
    `DELETE FROM task_result WHERE id IN (SELECT id FROM task_result WHERE ${text} ORDER BY ${ORDER(bound)}, id LIMIT ?) RETURNING task_id`,
    [...bindings, limit],
  )
  await sql.run('DELETE FROM task_attempt WHERE task_id IN (SELECT value FROM json_each(?))', [
    JSON.stringify(gone.map((row) => row.task_id)),
  ])
  return gone.length
}

/** When the `keep`-th newest of the finished rows ended: what ended before it is beyond the number to keep. Null: fewer are there. */
export async function finishedBeyond(sql: Sql, keep: number): Promise<Date | null> {
  const [row] = await sql.all<{ finished_at: number }>(
    'SELECT finished_at FROM task_result WHERE finished_at IS NOT NULL ORDER BY finished_at DESC, id DESC LIMIT 1 OFFSET ?',
    [keep],
  )
  return row ? new Date(row.finished_at) : null
}

/** Deletes one finished row with its history. False: it is not there, or still open. */
export async function forget(sql: Sql, taskId: string): Promise<boolean> {
  const gone = await sql.run('DELETE FROM task_result WHERE task_id = ? AND finished_at IS NOT NULL', [taskId])
  if (gone === 1) await sql.run('DELETE FROM task_attempt WHERE task_id = ?', [taskId])
  return gone === 1
}
