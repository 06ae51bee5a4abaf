import type { Json, JsonObject } from '../task/json.js'
import type { TaskMessage } from '../task/message.js'
import type { ErrorRecord } from '../task/outcome.js'
import type { TaskSignature } from '../task/signature.js'
import { normalise } from './compose.js'
import { begin, type Launch, type SendContext } from './launch.js'
import { mapFirst, mergeTask } from './signature.js'

/** What an errback that asks for it is told of the failed task. */
export type ErrbackRequest = {
  readonly id: string
  readonly task: string
  readonly args: readonly Json[]
  readonly kwargs: JsonObject
  /** How often it had been retried. */
  readonly retries: number
  readonly rootId: string
  readonly parentId: string | null
  readonly groupId: string | null
  readonly queue: string
  readonly headers: JsonObject
}

function requestOf({ id, task, args, kwargs, retries, rootId, parentId, groupId, queue, options }: TaskMessage): ErrbackRequest {
  return { id, task, args, kwargs, retries, rootId, parentId, groupId, queue, headers: options.headers ?? {} }
}

function leadingOf(errback: TaskSignature, failed: TaskMessage, { type, message, traceback }: ErrorRecord): readonly Json[] {
  return errback.options.errback === true ? [requestOf(failed), { type, message }, traceback] : [failed.id]
}

/**
 * The failed task's errbacks, each sent once as a child of it. One declared as an errback takes `(request, error, traceback)`,
 * any other the failed task's id. The workflow's deadline is not theirs: it may be what the task failed by.
 */
export function calledErrbacks(failed: TaskMessage, error: ErrorRecord, context: SendContext): readonly Launch[] {
  const around: SendContext = { ...context, rootId: failed.rootId, parentId: failed.id, deadline: null }
  return (failed.options.linkError ?? []).map((errback) => {
    const called = mapFirst(normalise(errback), (task) => mergeTask(task, { args: leadingOf(task, failed, error) }))
    return begin(called, [], around)
  })
}
