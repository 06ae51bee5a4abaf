import type { Dialect, PartialIndex } from '../database/dialect.js'
import type { Binding, Sql } from '../database/sql.js'
import { FINAL_STATUSES } from '../task/status.js'
import { type StoredRow, type TaskRow, taskRow } from './row.js'
import { clusterOf } from './watched-workers.js'

/**
 * What keeps a row from ending:
 *
 * - `unpublished`: no broker ever confirmed its message
 * - `unclaimed`: its message is out, and no worker has it (or has it back, after a late-ack worker died)
 * - `lost`: its worker took and acked it, and is gone
 * - `stuck`: its worker is alive, and has been at it for longer than the age asked for
 * - `overdue`: its eta has passed, and no sender sent it
 * - `claimed`: a sender claimed it and did not send it
 * - `ended`: it has ended, in a status the caller does not call terminal
 */
const STALE_REASONS = ['unpublished', 'unclaimed', 'lost', 'stuck', 'overdue', 'claimed', 'ended'] as const
export type StaleReason = (typeof STALE_REASONS)[number]

export type StaleRow = TaskRow & { readonly reason: StaleReason }

/** Which rows of a stale list to leave out. */
export interface StaleFilter {
  /** Rows last touched at or before this instant. */
  readonly cutoff: number
  readonly now: number
  readonly limit: number
  readonly reasons?: readonly StaleReason[]
  /** Only tasks whose name matches one of these globs. */
  readonly tasks?: readonly string[]
  readonly queue?: string
}

interface Part {
  readonly reasons: readonly StaleReason[]
  readonly where: string
  readonly bindings: readonly Binding[]
  /** What the age is measured from, the order, and the index that has it; null: whichever is best. */
  readonly from: string
  readonly index: PartialIndex | null
}

/** When somebody last watched the cluster in which a task is: the silence of its workers since then tells nothing. */
const watchedUntil = (dialect: Dialect): string =>
  `(SELECT watch.beat_at FROM task_worker AS watch WHERE watch.worker_id = ${clusterOf(dialect)})`

/** The reason of a row, by what its columns say at `now`. */
const reasonIn = (dialect: Dialect): string => `CASE
  WHEN finished_at IS NOT NULL THEN 'ended'
  WHEN scheduled_id IS NOT NULL THEN 'claimed'
  WHEN published_at IS NULL AND eta IS NOT NULL THEN 'overdue'
  WHEN published_at IS NULL THEN 'unpublished'
  WHEN worker_id IS NULL THEN 'unclaimed'
  WHEN lease_until > coalesce(${watchedUntil(dialect)}, ?) THEN 'stuck'
  WHEN ${dialect.isTrue('options', 'acksLate')} AND ${clusterOf(dialect)} IS NULL THEN 'unclaimed'
  ELSE 'lost' END`

/** A row that an operator has sent again is that copy's business from then on. */
const NOT_RETRIED = 'NOT EXISTS (SELECT 1 FROM task_result AS copy WHERE copy.retry_of = task_result.task_id AND copy.retry_of IS NOT NULL)'

async function select(sql: Sql, parts: readonly Part[], filter: StaleFilter): Promise<StaleRow[]> {
  const wanted = filter.reasons ?? STALE_REASONS
  const chosen = parts.filter((part) => part.reasons.some((reason) => wanted.includes(reason)))
  const found: (StoredRow & { reason: StaleReason; age_from: number })[] = []
  for (const part of chosen) {
    const conditions = [part.where, `${part.from} <= ?`, NOT_RETRIED]
    const bindings: Binding[] = [filter.now, ...part.bindings, filter.cutoff]
    if (filter.tasks && filter.tasks.length > 0) {
      const globs = filter.tasks.map((pattern) => sql.dialect.glob('task', pattern))
      conditions.push(`(${globs.map(({ text }) => text).join(' OR ')})`)
      bindings.push(...globs.map(({ binding }) => binding))
    }
    if (filter.queue !== undefined) {
      conditions.push('queue = ?')
      bindings.push(filter.queue)
    }
    const inner = `SELECT *, ${reasonIn(sql.dialect)} AS reason, ${part.from} AS age_from
      FROM ${part.index ? sql.dialect.via('task_result', part.index) : 'task_result'} WHERE ${conditions.join(' AND ')}`
    const text = filter.reasons ? `SELECT * FROM (${inner}) AS stale WHERE ${sql.dialect.among('reason')}` : inner
    if (filter.reasons) bindings.push(JSON.stringify(filter.reasons))
    found.push(...(await sql.all<(typeof found)[number]>(`${text} ORDER BY age_from, id LIMIT ?`, [...bindings, filter.limit])))
  }
  found.sort((a, b) => a.age_from - b.age_from || a.id - b.id)
  return found.slice(0, filter.limit).map((row) => ({ ...taskRow(row), reason: row.reason }))
}

/**
 * Rows that should have ended by now, oldest first.
 *
 * @param terminal the statuses that count as ended; the default are the final ones. A SCHEDULED row is never
 *   stale here: it waits on purpose, and `findStaleScheduled` watches it.
 */
export function findStale(sql: Sql, filter: StaleFilter, terminal: readonly string[] = FINAL_STATUSES): Promise<StaleRow[]> {
  const notTerminal = `${sql.dialect.notAmong('status')} AND status <> 'SCHEDULED'`
  const bindings = [JSON.stringify(terminal)]
  const { by } = sql.dialect
  const open: Part[] = [
    {
      reasons: ['unclaimed', 'lost', 'stuck'],
      where: `finished_at IS NULL AND published_at IS NOT NULL AND ${notTerminal} AND (eta IS NULL OR eta <= ?)`, // a broker may hold it until then
      bindings: [...bindings, filter.cutoff],
      from: by('in_flight', 'updated_at'),
      index: 'in_flight',
    },
    {
      reasons: ['unpublished'],
      where: `finished_at IS NULL AND published_at IS NULL AND eta IS NULL AND ${notTerminal}`,
      bindings,
      from: by('unpublished', 'updated_at'),
      index: 'unpublished',
    },
    {
      reasons: ['overdue'],
      where: `finished_at IS NULL AND published_at IS NULL AND scheduled_id IS NULL AND eta IS NOT NULL AND ${notTerminal}`,
      bindings,
      from: by('due', 'eta'),
      index: 'due',
    },
  ]
  const ended = FINAL_STATUSES.filter((status) => !terminal.includes(status))
  const finished: Part[] = ended.map((status) => ({
    reasons: ['ended'],
    // the second half says that the index of the unhappy will do
    where: `finished_at IS NOT NULL AND status = ?${status === 'SUCCESS' ? '' : " AND status <> 'SUCCESS'"}`,
    bindings: [status],
    from: 'finished_at',
    index: null,
  }))
  return select(sql, [...open, ...finished], filter)
}

/**
 * SCHEDULED rows that should have been sent by now, oldest first: `claimed` ones measured from their claim,
 * `overdue` ones from their eta.
 */
export function findStaleScheduled(sql: Sql, filter: StaleFilter): Promise<StaleRow[]> {
  const { by } = sql.dialect
  const parts: Part[] = [
    {
      reasons: ['claimed'],
      where: 'finished_at IS NULL AND scheduled_id IS NOT NULL',
      bindings: [],
      from: by('claimed', 'claimed_at'),
      index: 'claimed',
    },
    {
      reasons: ['overdue'],
      where: "finished_at IS NULL AND published_at IS NULL AND scheduled_id IS NULL AND eta IS NOT NULL AND status = 'SCHEDULED'",
      bindings: [],
      from: by('due', 'eta'),
      index: 'due',
    },
  ]
  return select(sql, parts, filter)
}
