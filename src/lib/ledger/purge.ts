import { remove } from '../database/change.js'
import type { Dialect } from '../database/dialect.js'
import type { Binding, Sql } from '../database/sql.js'
import { NEEDED, removeGroups } from './groups.js'

/** Which finished rows may go. Open rows never do, nor do those whose result a chord still waits to use. */
export interface PurgeBound {
  /** Finished at or before. */
  readonly cutoff?: Date
  /** Whose result has expired at this instant. */
  readonly expiredAt?: Date
  readonly statuses?: readonly string[]
}

function where(bound: PurgeBound, dialect: Dialect): { text: string; bindings: Binding[] } {
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
    parts.push(dialect.among('status'))
    if (!bound.statuses.includes('SUCCESS')) parts.push("status <> 'SUCCESS'") // says that the index of the unhappy will do
    bindings.push(JSON.stringify(bound.statuses))
  }
  parts.push(`NOT ${NEEDED}`)
  return { text: parts.join(' AND '), bindings }
}

const ORDER = (bound: PurgeBound): string => (bound.expiredAt ? 'result_expires_at' : 'finished_at')

/** What is rarer than a good end is found by its status. */
const INDEX = (bound: PurgeBound) => (bound.statuses ? {} : { index: bound.expiredAt ? 'expiry' : 'finished' })

export async function countPurgeable(sql: Sql, bound: PurgeBound): Promise<number> {
  const { text, bindings } = where(bound, sql.dialect)
  const [row] = await sql.all<{ n: number }>(`SELECT count(*) AS n FROM task_result WHERE ${text}`, bindings)
  return row?.n ?? 0
}

/** Deletes at most `limit` rows, the longest finished first, with their history; run it inside one commit. Returns their task ids. */
export async function purgeBatch(sql: Sql, bound: PurgeBound, limit: number): Promise<string[]> {
  const { text, bindings } = where(bound, sql.dialect)
  const first = `ORDER BY ${ORDER(bound)}, id LIMIT ?`
  const rows = { table: 'task_result', key: 'id', where: text, ...INDEX(bound), first, bindings: [...bindings, limit] }
  const gone = await remove<{ task_id: string; group_id: string | null }>(sql, rows, 'task_id, group_id')
  const taskIds = gone.map((row) => row.task_id)
  await sql.run(`DELETE FROM task_attempt WHERE ${sql.dialect.among('task_id')}`, [JSON.stringify(taskIds)])
  await removeGroups(sql, [...new Set(gone.flatMap((row) => row.group_id ?? []))])
  return taskIds
}

/** When the `keep`-th newest of the finished rows ended: what ended before it is beyond the number to keep. Null: fewer are there. */
export async function finishedBeyond(sql: Sql, keep: number): Promise<Date | null> {
  const [row] = await sql.all<{ finished_at: number }>(
    'SELECT finished_at FROM task_result WHERE finished_at IS NOT NULL ORDER BY finished_at DESC, id DESC LIMIT 1 OFFSET ?',
    [keep],
  )
  return row ? new Date(row.finished_at) : null
}

/** Deletes one finished row with its history. False: it is not there, or still open, or a chord waits to use its result. */
export async function forget(sql: Sql, taskId: string): Promise<boolean> {
  const gone = await sql.run(`DELETE FROM task_result WHERE task_id = ? AND finished_at IS NOT NULL AND NOT ${NEEDED}`, [taskId])
  if (gone === 1) await sql.run('DELETE FROM task_attempt WHERE task_id = ?', [taskId])
  return gone === 1
}
