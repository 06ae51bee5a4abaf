import type { Json } from '../task/json.js'
import type { TaskMessage } from '../task/message.js'
import type { ErrorRecord } from '../task/outcome.js'
import type { Canvas, TaskSignature } from '../task/signature.js'
import { groupsOf, tasksOf } from './freeze.js'
import { type GroupRecord, groupRecord, messageOf, type SendContext } from './launch.js'

/** An end that stops what would have followed. */
export type Stop = { readonly status: 'FAILURE' | 'REVOKED'; readonly error: ErrorRecord } | { readonly status: 'IGNORED' }

/** How a task of a workflow ended. */
export type TaskEnd = { readonly status: 'SUCCESS'; readonly value: Json } | Stop

/** The task a failure comes from. */
export interface Culprit {
  readonly taskId: string
  readonly error: ErrorRecord
}

/** The end of a task as the group it counts in hears of it. */
export interface Arrival {
  readonly groupId: string
  readonly groupIndex: number
  readonly taskId: string
  readonly task: string
  readonly end: TaskEnd
  /** The task that really ended so: this one, or the step before it at which its chain stopped. */
  readonly culprit: string
}

/** The row of a task that will never run. */
export interface Settled {
  /** Its `options.settledBy` names the task whose end ended it. */
  readonly message: TaskMessage
  readonly status: Stop['status']
  readonly error: ErrorRecord | null
  readonly arrival: Arrival | null
}

/** What a part of a workflow that will never run leaves behind. */
export interface Remains {
  readonly settled: readonly Settled[]
  /** Groups that never began: they are recorded so that their ids answer, and nothing waits for them any more. */
  readonly groups: readonly GroupRecord[]
}

export function arrivalOf({ id, task, groupId, groupIndex }: TaskMessage, end: TaskEnd, culprit = id): Arrival | null {
  return groupId === null ? null : { groupId, groupIndex: groupIndex ?? 0, taskId: id, task, end, culprit }
}

/** The part itself, and the callbacks its tasks would have sent. */
const withCallbacks = (part: Canvas): readonly Canvas[] => [
  part,
  ...tasksOf(part).flatMap(({ options }) => (options.link ?? []).flatMap(withCallbacks)),
]

/** What ended tasks that never ran. */
interface Cause {
  readonly by: string
  /** The culprit that the groups of settled tasks are told of. Null: each task itself. */
  readonly culprit: string | null
}

/** Settles every task that has an id: what has none is known to nobody. */
export function settle(parts: readonly Canvas[], stop: Stop, cause: Cause, context: SendContext): Remains {
  const all = parts.flatMap(withCallbacks)
  const tasks = all.flatMap(tasksOf).filter(({ options }) => options.taskId !== undefined)
  return {
    settled: tasks.map((task) => settledRow(task, stop, cause, context)),
    groups: all.flatMap(groupsOf).flatMap((group) => groupRecord(group, null, context)),
  }
}

/** It has no chain: of a long one every row would repeat what is left. */
function settledRow(task: TaskSignature, stop: Stop, { by, culprit }: Cause, context: SendContext): Settled {
  const message = messageOf(task, [], [], context)
  return {
    message: { ...message, eta: null, options: { ...message.options, settledBy: by } },
    status: stop.status,
    error: stop.status === 'IGNORED' ? null : stop.error,
    arrival: arrivalOf(message, stop, culprit ?? message.id),
  }
}
