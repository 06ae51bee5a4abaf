import { tasksOf } from '../canvas/freeze.js'
import type { Sql } from '../database/sql.js'
import { rootsNear, type Tree, treeOf } from '../ledger/tree.js'
import type { TaskSignature } from '../task/signature.js'

/** What is before a task in its workflow, the first of it first. */
export interface Before {
  readonly taskIds: readonly string[]
  readonly groupIds: readonly string[]
}

/** Recorded ids that are looked at before the one in question. */
const NEAR = 50
const WHOLE_TREE = 1_000_000

/** An id of `newTaskId`. */
const MADE_HERE = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-/

/** Something that is open, and what is still to be sent because of it. */
interface Holder {
  readonly taskId: string | null
  readonly groupId: string | null
  /** The groups that wait for it. */
  readonly countsIn: readonly string[]
  readonly holds: readonly TaskSignature[]
}

/**
 * What is open before a task that a workflow is still to send, found by the task's id alone. No index leads from such an id to
 * its workflow; but the ids of one workflow are made in a row, so recorded ones stand right before it. Null: there is none, or
 * the id was chosen by hand.
 */
export async function aheadOf(sql: Sql, taskId: string): Promise<Before | null> {
  if (!MADE_HERE.test(taskId)) return null
  for (const rootId of await rootsNear(sql, taskId, NEAR)) {
    const found = leadingTo(await treeOf(sql, rootId, WHOLE_TREE), taskId)
    if (found.taskIds.length + found.groupIds.length > 0) return found
  }
  return null
}

/** Who holds the task; where that is a chord, also who its header waits for; and so on. */
function leadingTo(tree: Tree, taskId: string): Before {
  const holders = holdersOf(tree)
  const found = new Set(holders.filter(({ holds }) => holds.some(({ options }) => options.taskId === taskId)))
  for (const { groupId } of found) {
    if (groupId !== null) for (const holder of holders) if (holder.countsIn.includes(groupId)) found.add(holder)
  }
  const all = [...found]
  return { taskIds: all.flatMap((one) => one.taskId ?? []), groupIds: all.flatMap((one) => one.groupId ?? []) }
}

function holdersOf({ tasks, groups }: Tree): readonly Holder[] {
  const groupsIn = (holds: readonly TaskSignature[]) => holds.flatMap(({ options }) => options.groupId ?? [])
  const waiting = groups.flatMap(({ groupId, body }) => {
    const holds = body ? tasksOf(body) : []
    return body ? [{ taskId: null, groupId, countsIn: groupsIn(holds), holds }] : []
  })
  const open = tasks.flatMap(({ taskId, groupId, chain, open: isOpen }) => {
    const holds = chain.flatMap(tasksOf)
    return isOpen ? [{ taskId, groupId: null, countsIn: [groupId ?? [], groupsIn(holds)].flat(), holds }] : []
  })
  return [...open, ...waiting]
}
