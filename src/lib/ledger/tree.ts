import { tasksOf } from '../canvas/freeze.js'
import { json } from '../database/columns.js'
import type { Sql } from '../database/sql.js'
import type { MessageOptions } from '../task/message.js'
import type { Canvas } from '../task/signature.js'

/** One task of a workflow, as a tree shows it. */
export interface TreeTask {
  readonly taskId: string
  readonly task: string
  readonly status: string
  readonly parentId: string | null
  readonly groupId: string | null
  /** The steps that follow it, and that no row stands for while it is open. */
  readonly chain: readonly Canvas[]
  readonly open: boolean
}

export interface TreeGroup {
  readonly groupId: string
  readonly size: number
  readonly remaining: number
  readonly parentId: string | null
  /** What waits for its members; null once it is sent or failed, and for a group that nothing waits for. */
  readonly body: Canvas | null
}

export interface Tree {
  readonly rootId: string
  readonly tasks: readonly TreeTask[]
  readonly groups: readonly TreeGroup[]
}

interface StoredTask {
  readonly task_id: string
  readonly task: string
  readonly status: string
  readonly parent_id: string | null
  readonly group_id: string | null
  readonly options: string
  readonly finished_at: number | null
}

const COLUMNS = 'task_id, task, status, parent_id, group_id, options, finished_at'

/** What was sent of the workflow that began with `rootId` (the id of its first task or group), oldest first, at most `limit` tasks. */
export async function treeOf(sql: Sql, rootId: string, limit: number): Promise<Tree> {
  const first = await sql.all<StoredTask>(`SELECT ${COLUMNS} FROM task_result WHERE task_id = ?`, [rootId])
  const others = await sql.all<StoredTask>(
    `SELECT ${COLUMNS} FROM task_result WHERE root_id = ? AND root_id <> task_id ORDER BY id LIMIT ?`,
    [rootId, limit],
  )
  const tasks = [...first, ...others].map(treeTask)
  const around = tasks.flatMap(({ groupId, parentId, chain }) => [groupId ?? [], parentId ?? [], groupIdsIn(chain)].flat())
  return { rootId, tasks, groups: await groupsAround(sql, [rootId, ...around]) }
}

/** The roots of the workflows whose ids are the last before this one, the nearest first, among `limit` tasks. */
export async function rootsNear(sql: Sql, taskId: string, limit: number): Promise<string[]> {
  const rows = await sql.all<{ root_id: string }>('SELECT root_id FROM task_result WHERE task_id < ? ORDER BY task_id DESC LIMIT ?', [
    taskId,
    limit,
  ])
  return [...new Set(rows.map((row) => row.root_id))]
}

/** The groups in which tasks that are not sent yet are to count. */
const groupIdsIn = (parts: readonly Canvas[]): readonly string[] => parts.flatMap(tasksOf).flatMap(({ options }) => options.groupId ?? [])

/** These groups, and those that what waits for them is to count in. */
async function groupsAround(sql: Sql, ids: readonly string[]): Promise<readonly TreeGroup[]> {
  const found = new Map<string, TreeGroup>()
  for (let asked = new Set(ids); asked.size > 0; ) {
    const groups = await groupsAmong(sql, [...asked])
    for (const group of groups) found.set(group.groupId, group)
    asked = new Set(groups.flatMap(({ body }) => (body ? groupIdsIn([body]) : [])).filter((id) => !found.has(id)))
  }
  return [...found.values()]
}

function treeTask(row: StoredTask): TreeTask {
  const { chain = [] } = json(row.options) as MessageOptions
  const open = row.finished_at === null
  return { taskId: row.task_id, task: row.task, status: row.status, parentId: row.parent_id, groupId: row.group_id, chain, open }
}

async function groupsAmong(sql: Sql, ids: readonly string[]): Promise<TreeGroup[]> {
  const rows = await sql.all<{
    group_id: string
    size: number
    remaining: number
    parent_id: string | null
    body: string | null
  }>(
    `SELECT group_id, size, remaining, parent_id, CASE WHEN finished_at IS NULL THEN body END AS body
       FROM task_group WHERE ${sql.dialect.among('group_id')} ORDER BY submitted_at, group_id`,
    [JSON.stringify(ids)],
  )
  return rows.map((row) => ({
    groupId: row.group_id,
    size: row.size,
    remaining: row.remaining,
    parentId: row.parent_id,
    body: json(row.body) as Canvas | null,
  }))
}
