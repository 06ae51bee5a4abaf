import type { Sql } from '../database/sql.js'
import { findTask } from '../ledger/find.js'
import type { Follower } from '../publish/follow.js'
import type { TaskMessage } from '../task/message.js'

/** A task that Celery has sent as a part of a workflow of ours. */
export interface Part {
  /** But for what the result before it adds to its arguments. */
  readonly message: TaskMessage
  /** What the ledger does not hold of the workflow. */
  readonly redacted: readonly string[]
}

/** What Celery sends of workflows of ours, as the rows of the tasks before that tell it. */
export class NextSteps {
  /** Of the task that was asked for last: the members of a group come one after the other. */
  private last: { readonly parentId: string; readonly parts: ReadonlyMap<string, Part> } = { parentId: '', parts: new Map() }

  constructor(private readonly follower: Follower) {}

  /** Null: no workflow of ours says that it follows its parent. Undefined: the parent has no row. */
  async find(sql: Sql, taskId: string, parentId: string): Promise<Part | null | undefined> {
    if (this.last.parentId !== parentId) {
      const parent = await findTask(sql, parentId)
      if (!parent) return undefined
      const { redacted = [] } = parent.options
      const parts = new Map(this.follower.successors(parent).map((message) => [message.id, { message, redacted }]))
      if (parts.size === 0) return null // it may be told yet that the parent is a part itself
      this.last = { parentId, parts }
    }
    return this.last.parts.get(taskId) ?? null
  }
}
