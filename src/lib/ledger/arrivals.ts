import type { Arrival } from '../canvas/settle.js'
import { update } from '../database/change.js'
import type { Sql } from '../database/sql.js'
import type { Canvas } from '../task/signature.js'

/** A chord whose turn has come: what its end needs. */
export interface WaitingChord {
  readonly groupId: string
  readonly body: Canvas
  readonly rootId: string
  readonly parentId: string | null
  readonly deadline: number | null
}

/** What an arrival means for its group. */
export type Arrived =
  /** Nothing follows: others are still to come, it is a plain group, or this was no news. */
  | { readonly kind: 'counted' }
  /** All of a chord's members have ended well: the body is to be sent. */
  | { readonly kind: 'complete'; readonly chord: WaitingChord }
  /** The same, but the body had failed before: copies have taken the places of the failed members. */
  | { readonly kind: 'repaired'; readonly chord: WaitingChord }
  /** The first of a chord's members to fail: the body is to be failed. */
  | { readonly kind: 'failed'; readonly chord: WaitingChord }

interface Counters {
  readonly remaining: number
  readonly failed: number
  readonly ended: number
  readonly chord: number
}

const COUNTED: Arrived = { kind: 'counted' }

const PLACE = 'UPDATE task_group_member SET task_id = ?, status = ? WHERE group_id = ? AND group_index = ?'

/**
 * Counts the end of a member, in the commit of that end. Each place is counted once, whoever asks again; a copy that ends
 * well takes the place of its failed original. A group nobody recorded, or that was forgotten, counts nothing.
 */
export async function arrive(sql: Sql, { groupId, groupIndex, taskId, end }: Arrival, now: number): Promise<Arrived> {
  const bad = end.status === 'FAILURE' || end.status === 'REVOKED'
  const place = [taskId, end.status, groupId, groupIndex]
  const first = (await sql.run(`${PLACE} AND status IS NULL`, place)) === 1
  if (!first && (bad || (await sql.run(`${PLACE} AND status IN ('FAILURE', 'REVOKED')`, place)) === 0)) return COUNTED
  const [counters] = await update<Counters>(
    sql,
    { table: 'task_group', key: 'group_id', where: 'group_id = ?', bindings: [groupId] },
    { set: 'remaining = remaining - ?, failed = failed + ?', bindings: [first ? 1 : 0, first ? (bad ? 1 : 0) : -1] },
    'remaining, failed, finished_at IS NOT NULL AS ended, body IS NOT NULL AS chord',
  )
  return counters ? meaning(sql, groupId, counters, bad, now) : COUNTED
}

async function meaning(
  sql: Sql,
  groupId: string,
  { remaining, failed, ended, chord }: Counters,
  bad: boolean,
  now: number,
): Promise<Arrived> {
  const whole = remaining === 0 && failed === 0
  if (chord === 0) {
    if (remaining === 0) await endGroup(sql, groupId, now)
    return COUNTED
  }
  if (ended === 1) {
    if (!whole) return COUNTED
    const repaired = await chordOf(sql, groupId)
    return repaired.deadline !== null && repaired.deadline <= now ? COUNTED : { kind: 'repaired', chord: repaired }
  }
  if (!bad && !whole) return COUNTED
  await endGroup(sql, groupId, now)
  return { kind: bad ? 'failed' : 'complete', chord: await chordOf(sql, groupId) }
}

async function chordOf(sql: Sql, groupId: string): Promise<WaitingChord> {
  const [row] = await sql.all<{ body: string; root_id: string; parent_id: string | null; deadline: number | null }>(
    'SELECT body, root_id, parent_id, deadline FROM task_group WHERE group_id = ?',
    [groupId],
  )
  if (!row) throw new Error(`no group ${groupId}`)
  return { groupId, body: JSON.parse(row.body) as Canvas, rootId: row.root_id, parentId: row.parent_id, deadline: row.deadline }
}

async function endGroup(sql: Sql, groupId: string, now: number): Promise<boolean> {
  return (await sql.run('UPDATE task_group SET finished_at = ? WHERE group_id = ? AND finished_at IS NULL', [now, groupId])) === 1
}

/** Forgets what a chord would have sent, once that is decided: it holds arguments that the ledger must not keep. */
export async function forgetBody(sql: Sql, groupId: string): Promise<void> {
  await sql.run('UPDATE task_group SET body = NULL WHERE group_id = ? AND finished_at IS NOT NULL', [groupId])
}

/** Words of the index task_group_deadline. */
const OPEN_CHORD = 'finished_at IS NULL AND deadline IS NOT NULL AND body IS NOT NULL'

/** A chord whose members did not all end in time. */
export interface ExpiredGroup {
  readonly groupId: string
  readonly size: number
  readonly remaining: number
  readonly deadline: number
}

/** Chords that still wait at their deadline, the longest expired first. */
export async function findExpiredGroups(sql: Sql, now: number, limit: number): Promise<ExpiredGroup[]> {
  const rows = await sql.all<{ group_id: string; size: number; remaining: number; deadline: number }>(
    `SELECT group_id, size, remaining, deadline FROM task_group WHERE ${OPEN_CHORD} AND deadline <= ? ORDER BY deadline, group_id LIMIT ?`,
    [now, limit],
  )
  return rows.map((row) => ({ groupId: row.group_id, size: row.size, remaining: row.remaining, deadline: row.deadline }))
}

/** Ends a chord that still waits: its members count on, but its body is not sent any more. Null: it has ended. */
export async function endChord(sql: Sql, groupId: string, now: number): Promise<WaitingChord | null> {
  return (await endGroup(sql, groupId, now)) ? chordOf(sql, groupId) : null
}

/** When the next chord's time is up, or null when none has a deadline. */
export async function nextDeadline(sql: Sql): Promise<number | null> {
  const [row] = await sql.all<{ deadline: number }>(
    `SELECT deadline FROM task_group WHERE ${OPEN_CHORD} ORDER BY deadline, group_id LIMIT 1`,
    [],
  )
  return row?.deadline ?? null
}
