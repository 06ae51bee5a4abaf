import { leaves, tasksOf } from '../canvas/freeze.js'
import type { Tree, TreeGroup, TreeTask } from '../ledger/tree.js'
import type { Canvas } from '../task/signature.js'

/** One line, and what is drawn below it. */
interface Branch {
  readonly line: string
  readonly branches: readonly Branch[]
}

/** More branches than this below one line are counted instead. */
const MOST_BRANCHES = 20

/** A workflow as lines: each task under what sent it, each member under its group, and what is still to be sent under what it waits for. */
export function drawTree(tree: Tree, shownId: string): string[] {
  return drawn(new Drawing(tree, shownId).top(), '')
}

class Drawing {
  private readonly groups: ReadonlyMap<string, TreeGroup>
  private readonly below = new Map<string | null, (TreeTask | TreeGroup)[]>()

  constructor(
    { tasks, groups }: Tree,
    private readonly shownId: string,
  ) {
    this.groups = new Map(groups.map((group) => [group.groupId, group]))
    const known = new Set([...this.groups.keys(), ...tasks.map(({ taskId }) => taskId)])
    const place = (under: string | null, what: TreeTask | TreeGroup) => {
      const at = under !== null && known.has(under) ? under : null
      this.below.set(at, [...(this.below.get(at) ?? []), what])
    }
    for (const group of groups) place(group.parentId, group)
    for (const task of tasks) place(this.over(task), task)
  }

  top(): readonly Branch[] {
    return this.under(null)
  }

  /** What a task is drawn under: its group when they were sent together, else what sent it. */
  private over(task: TreeTask): string | null {
    const group = this.groups.get(task.groupId ?? task.chain.flatMap(leaves).at(-1)?.options.groupId ?? '')
    return group && group.parentId === task.parentId ? group.groupId : task.parentId
  }

  private under(id: string | null): readonly Branch[] {
    const branches = (this.below.get(id) ?? []).map((what) => ('task' in what ? this.ofTask(what) : this.ofGroup(what)))
    if (branches.length <= MOST_BRANCHES) return branches
    return [...branches.slice(0, MOST_BRANCHES), { line: `… and ${branches.length - MOST_BRANCHES} more`, branches: [] }]
  }

  private ofTask({ taskId, task, status, chain, open }: TreeTask): Branch {
    const waiting = open ? chain.flatMap(waitingIn) : []
    const mark = taskId === this.shownId ? '  <' : ''
    return { line: `${status} ${task} ${taskId}${mark}`, branches: [...this.under(taskId), ...waiting] }
  }

  private ofGroup({ groupId, size, remaining, body }: TreeGroup): Branch {
    const line = `group of ${size}, ${size - remaining} ended ${groupId}`
    return { line, branches: [...this.under(groupId), ...(body ? waitingIn(body) : [])] }
  }
}

const waitingIn = (canvas: Canvas): readonly Branch[] =>
  tasksOf(canvas).map(({ task, options }) => ({ line: `waits ${task} ${options.taskId ?? ''}`, branches: [] }))

function drawn(branches: readonly Branch[], indent: string): string[] {
  return branches.flatMap(({ line, branches: below }, i) => {
    const last = i === branches.length - 1
    return [`${indent}${last ? '└─' : '├─'} ${line}`, ...drawn(below, `${indent}${last ? '   ' : '│  '}`)]
  })
}
