import type { Dialect } from '../database/dialect.js'
import type { Binding, Sql } from '../database/sql.js'
import { FINAL_STATUSES } from '../task/status.js'
import { type StoredRow, type TaskRow, taskRow } from './row.js'

/** Which rows an operator means. Everything given must hold; several of one kind: any of them. */
export interface TaskFilter {
  readonly ids?: readonly string[]
  /** Globs on the task's name: `*` any text, `?` one character. */
  readonly tasks?: readonly string[]
  readonly statuses?: readonly string[]
  /** Only what has not ended, whatever its status; a running task may have one of its own. */
  readonly open?: true
  readonly queue?: string
  readonly errorType?: string
  /** Submitted at or after. */
  readonly since?: Date
  /** Submitted before. */
  readonly until?: Date
  /** Last touched at or before. */
  readonly cutoff?: Date
}

interface Where {
  readonly text: string
  readonly bindings: readonly Binding[]
}

/** The text before the first wildcard: the range of an index that can hold a match. */
const prefixOf = (glob: string): string => /^[^*?[]*/.exec(glob)?.[0] ?? ''

function oneTask(glob: string, dialect: Dialect): Where {
  const prefix = prefixOf(glob)
  if (prefix === glob) return { text: 'task = ?', bindings: [glob] }
  const { text, binding } = dialect.glob('task', glob)
  if (prefix === '') return { text, bindings: [binding] }
  return { text: `(task >= ? AND task < ? AND ${text})`, bindings: [prefix, `${prefix}\u{10FFFF}`, binding] }
}

/** A status as literal text where a partial index needs to see it. */
function oneStatus(status: string): Where {
  const final = FINAL_STATUSES.find((known) => known === status)
  if (final === undefined) return { text: '(status = ? AND finished_at IS NULL)', bindings: [status] }
  if (final === 'SUCCESS') return { text: "(status = 'SUCCESS' AND finished_at IS NOT NULL)", bindings: [] }
  return { text: `(status = '${final}' AND finished_at IS NOT NULL AND status <> 'SUCCESS')`, bindings: [] }
}

function anyOf(parts: readonly Where[]): Where {
  return {
    text: parts.length === 1 ? (parts[0]?.text ?? '') : `(${parts.map((part) => part.text).join(' OR ')})`,
    bindings: parts.flatMap((part) => part.bindings),
  }
}

/** The filter as a condition on task_result. */
export function whereOf(filter: TaskFilter, dialect: Dialect): Where {
  const parts: Where[] = []
  if (filter.ids) parts.push({ text: dialect.among('task_id'), bindings: [JSON.stringify(filter.ids)] })
  if (filter.tasks?.length) parts.push(anyOf(filter.tasks.map((glob) => oneTask(glob, dialect))))
  if (filter.statuses?.length) parts.push(anyOf(filter.statuses.map(oneStatus)))
  // by their own small index, however many rows have ended
  if (filter.open) parts.push({ text: `id ${dialect.chosen('SELECT id FROM task_result WHERE finished_at IS NULL')}`, bindings: [] })
  if (filter.queue !== undefined) parts.push({ text: 'queue = ?', bindings: [filter.queue] })
  if (filter.errorType !== undefined) parts.push({ text: 'error_type = ?', bindings: [filter.errorType] })
  if (filter.since) parts.push({ text: 'submitted_at >= ?', bindings: [filter.since.getTime()] })
  if (filter.until) parts.push({ text: 'submitted_at < ?', bindings: [filter.until.getTime()] })
  if (filter.cutoff) parts.push({ text: 'updated_at <= ?', bindings: [filter.cutoff.getTime()] })
  if (parts.length === 0) return { text: 'TRUE', bindings: [] }
  return { text: parts.map((part) => part.text).join(' AND '), bindings: parts.flatMap((part) => part.bindings) }
}

/** At most `limit` rows that match, newest first, with ids below `before` (the next page: the last id of this one). */
export async function findTasks(sql: Sql, filter: TaskFilter, limit: number, before = Number.MAX_SAFE_INTEGER): Promise<TaskRow[]> {
  const where = whereOf(filter, sql.dialect)
  const rows = await sql.all<StoredRow>(`SELECT * FROM task_result WHERE ${where.text} AND id < ? ORDER BY id DESC LIMIT ?`, [
    ...where.bindings,
    before,
    limit,
  ])
  return rows.map(taskRow)
}

/** How many rows match, counting no further than `cap`. */
export async function countTasks(sql: Sql, filter: TaskFilter, cap: number): Promise<number> {
  const where = whereOf(filter, sql.dialect)
  const [row] = await sql.all<{ n: number }>(
    `SELECT count(*) AS n FROM (SELECT 1 FROM task_result WHERE ${where.text} AND id < ? LIMIT ?) AS found`,
    [...where.bindings, Number.MAX_SAFE_INTEGER, cap],
  )
  return row?.n ?? 0
}
