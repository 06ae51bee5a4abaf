import { newTaskId } from '../task/id.js'
import type { Canvas } from '../task/signature.js'
import { GroupResult } from './group-result.js'
import type { Result } from './lineage.js'
import type { Parts } from './parts.js'
import { AsyncResult } from './result.js'
import type { AnyResult } from './signature.js'

/**
 * The handles on a frozen workflow in normal form: on what has its result, with `parent` back to its beginning. Null: there is
 * nothing in it.
 */
export function resultOf(canvas: Canvas, open: () => Promise<Parts>, parent: Result | null = null): AnyResult {
  switch (canvas.kind) {
    case 'task': {
      const { taskId = '', ignoreResult = false } = canvas.options
      return new AsyncResult(taskId, open, ignoreResult, parent)
    }
    case 'chain':
      return canvas.steps.length === 0 ? null : canvas.steps.reduce<AnyResult>((before, step) => resultOf(step, open, before), parent)
    case 'group':
      return groupOf(canvas.members, canvas.groupId, open, parent)
    case 'chord':
      return resultOf(canvas.body, open, groupOf(canvas.header, canvas.groupId, open, parent))
  }
}

function groupOf(members: readonly Canvas[], groupId = '', open: () => Promise<Parts>, parent: Result | null): GroupResult {
  const results = members.map((member) => resultOf(member, open)).filter((result) => result !== null)
  return new GroupResult(groupId, results.flatMap(tasksOf), open, parent)
}

/** A member that ends in a group has the places of that group's tasks. */
const tasksOf = (result: Result): readonly AsyncResult[] => {
  if (result instanceof GroupResult) return result.results
  return result instanceof AsyncResult ? [result] : []
}

/** The results of a group that went as its one member, or, having none, not at all: still a list. */
export function asGroup(result: AnyResult, size: number, open: () => Promise<Parts>): AnyResult {
  if (size === 0) return new GroupResult(newTaskId(), [], open, result)
  return result instanceof AsyncResult ? new GroupResult(result.id, [result], open, result.parent) : result
}
