import type { GroupRecord } from '../canvas/launch.js'
import { insertIfNew, remove } from '../database/change.js'
import { instant, instantOrNull } from '../database/columns.js'
import type { Sql } from '../database/sql.js'
import { isShown } from './row.js'

/** A group as the ledger knows it by its id alone. */
export interface GroupRow {
  readonly groupId: string
  readonly size: number
  /** Members that have not ended. */
  readonly remaining: number
  /** Members that ended FAILURE or REVOKED, and whose place no copy has taken. */
  readonly failed: number
  /** Whether something is sent with its results. */
  readonly chord: boolean
  readonly rootId: string
  readonly parentId: string | null
  /** From this instant on the body of a chord that still waits is failed. */
  readonly deadline: Date | null
  readonly submittedAt: Date
  /** When its last member ended; of a chord, when its body was sent or failed. */
  readonly finishedAt: Date | null
}

/** One place in a group. */
export interface Member {
  readonly index: number
  /** The task that has the place: a copy once it took that of its failed original. */
  readonly taskId: string
  /** The task's status; PENDING while it has no row. */
  readonly status: string
}

interface StoredGroup {
  readonly group_id: string
  readonly size: number
  readonly remaining: number
  readonly failed: number
  readonly chord: number
  readonly root_id: string
  readonly parent_id: string | null
  readonly deadline: number | null
  readonly submitted_at: number
  readonly finished_at: number | null
}

/**
 * Of a row of task_result: a chord that waits for others needs its result. Such a row is not deleted, however long ago it
 * ended. Without a group there is nothing to look up.
 */
export const NEEDED =
  'EXISTS (SELECT 1 FROM task_group AS g WHERE g.group_id = task_result.group_id AND g.finished_at IS NULL AND g.body IS NOT NULL)'

/** Writes a group and its members, none of which has ended. False: a group of this id is there, and nothing was written. */
export async function recordGroup(sql: Sql, group: GroupRecord, now: number): Promise<boolean> {
  const { groupId, members, body, rootId, parentId, deadline } = group
  const size = members.length
  const written = await insertIfNew(
    sql,
    `INSERT INTO task_group (group_id, size, remaining, failed, body, root_id, parent_id, deadline, submitted_at, finished_at)
     VALUES (?, ?, ?, 0, ?, ?, ?, ?, ?, ?)`,
    'group_id',
    [groupId, size, size, body && JSON.stringify(body), rootId, parentId, deadline, now, size === 0 ? now : null],
  )
  if (written) await insertMembers(sql, groupId, 0, members)
  return written
}

/** Adds members to a group that is there, after those it has. */
export async function addMembers(sql: Sql, groupId: string, from: number, taskIds: readonly string[]): Promise<void> {
  await sql.run('UPDATE task_group SET size = size + ?, remaining = remaining + ? WHERE group_id = ?', [
    taskIds.length,
    taskIds.length,
    groupId,
  ])
  await insertMembers(sql, groupId, from, taskIds)
}

const insertMembers = (sql: Sql, groupId: string, from: number, taskIds: readonly string[]): Promise<number> =>
  sql.run(
    `INSERT INTO task_group_member (group_id, group_index, task_id) SELECT ?, ? + ${sql.dialect.place}, value FROM ${sql.dialect.elements('members')}`,
    [groupId, from, JSON.stringify(taskIds)],
  )

/** Another task has the place of one that has not arrived: the one sent for it at its eta, or in its stead. */
export async function replaceMember(sql: Sql, groupId: string, groupIndex: number, taskId: string): Promise<void> {
  await sql.run('UPDATE task_group_member SET task_id = ? WHERE group_id = ? AND group_index = ? AND status IS NULL', [
    taskId,
    groupId,
    groupIndex,
  ])
}

/** The group of this id; null: none was recorded, or it is forgotten. */
export const groupOf = (sql: Sql, groupId: string): Promise<GroupRow | null> => readGroup(sql, groupId, '')

/** The same, of one that this commit is to change by what it reads. */
export const lockGroup = (sql: Sql, groupId: string): Promise<GroupRow | null> => readGroup(sql, groupId, sql.dialect.locked)

async function readGroup(sql: Sql, groupId: string, locked: string): Promise<GroupRow | null> {
  const [row] = await sql.all<StoredGroup>(
    `SELECT group_id, size, remaining, failed, body IS NOT NULL AS chord, root_id, parent_id, deadline, submitted_at, finished_at
       FROM task_group WHERE group_id = ?${locked}`,
    [groupId],
  )
  return row ? groupRow(row) : null
}

const groupRow = (stored: StoredGroup): GroupRow => ({
  groupId: stored.group_id,
  size: stored.size,
  remaining: stored.remaining,
  failed: stored.failed,
  chord: stored.chord === 1,
  rootId: stored.root_id,
  parentId: stored.parent_id,
  deadline: instantOrNull(stored.deadline),
  submittedAt: instant(stored.submitted_at),
  finishedAt: instantOrNull(stored.finished_at),
})

/** A place's task and what its row says; a row that was purged is remembered by the status it arrived with. */
const MEMBERS = `FROM task_group_member AS m LEFT JOIN task_result AS r ON r.task_id = m.task_id WHERE m.group_id = ?`
const STATUS = `coalesce(r.status, m.status, 'PENDING')`

/** The members of a group, in its order. */
export async function membersOf(sql: Sql, groupId: string): Promise<Member[]> {
  const rows = await sql.all<{ group_index: number; task_id: string; status: string }>(
    `SELECT m.group_index, m.task_id, ${STATUS} AS status ${MEMBERS} ORDER BY m.group_index`,
    [groupId],
  )
  return rows.map((row) => ({ index: row.group_index, taskId: row.task_id, status: row.status }))
}

/** The first member that has not ended, or null. */
export async function findMissing(sql: Sql, groupId: string): Promise<string | null> {
  const [row] = await sql.all<{ task_id: string }>(
    'SELECT task_id FROM task_group_member WHERE group_id = ? AND status IS NULL ORDER BY group_index LIMIT 1',
    [groupId],
  )
  return row?.task_id ?? null
}

/** What one member of a group left. */
export interface MemberResult {
  readonly taskId: string
  /** JSON text; null for a null, an ignored or a skipped result. */
  readonly result: string | null
  /** False: its row was deleted, and nobody knows the result. */
  readonly kept: boolean
  /** False: it is what Celery showed of the result. */
  readonly exact: boolean
}

/** The results of a group whose members have all ended well, in its order. */
export async function resultsOf(sql: Sql, groupId: string): Promise<MemberResult[]> {
  const rows = await sql.all<{ task_id: string; result: string | null; kept: number; shown: string | null }>(
    `SELECT m.task_id, CASE WHEN m.status = 'SUCCESS' THEN r.result END AS result, r.task_id IS NOT NULL AS kept,
       CASE WHEN r.options LIKE '%"unreadable"%' THEN r.options END AS shown ${MEMBERS} ORDER BY m.group_index`,
    [groupId],
  )
  return rows.map((row) => ({ taskId: row.task_id, result: row.result, kept: row.kept === 1, exact: !isShown(row.shown, 'result') }))
}

/** Deletes the record of a group all of whose members have ended; their own rows stay. False: it is not there, or not over. */
export async function forgetGroup(sql: Sql, groupId: string): Promise<boolean> {
  return (await removeGroups(sql, [groupId])) === 1
}

/** Deletes those of the groups that are over. Returns how many. */
export async function removeGroups(sql: Sql, groupIds: readonly string[]): Promise<number> {
  const where = `${sql.dialect.among('group_id')} AND finished_at IS NOT NULL AND remaining = 0`
  const over = { table: 'task_group', key: 'group_id', where, bindings: [JSON.stringify(groupIds)] }
  const gone = await remove<{ group_id: string }>(sql, over, 'group_id')
  if (gone.length > 0)
    await sql.run(`DELETE FROM task_group_member WHERE ${sql.dialect.among('group_id')}`, [JSON.stringify(gone.map((row) => row.group_id))])
  return gone.length
}
