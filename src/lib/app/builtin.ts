import { ACCUMULATE, accumulated, type ItemCall, itemCalls, MAP, STARMAP } from '../canvas/iterate.js'
import { finishedItems } from '../canvas/progress.js'
import { callArguments, type TaskContext, type TaskDefinition } from '../task/definition.js'
import { Retry } from '../task/ending.js'
import type { Json, JsonObject } from '../task/json.js'
import { DEFAULT_EXECUTION } from '../task/options.js'
import { MaxRetriesExceededError, outcomeOfError, type RetryOptions, retryEta } from '../task/retry-policy.js'
import { directContext } from './task.js'

/** A task's definition by its name; null: there is none. */
export type Definitions = (name: string) => TaskDefinition | null

/** The task of Celery's own that every worker has under this name; null: it is none of them. */
export function builtin(name: string, definitions: Definitions, now: () => number): TaskDefinition | null {
  switch (name) {
    case MAP:
    case STARMAP:
      return defined(name, (task: TaskContext, kwargs: JsonObject) => runItems(name, task, kwargs, definitions, now))
    case ACCUMULATE:
      return defined(name, (task: TaskContext) => accumulated(task.request.args, task.request.kwargs['index']))
    default:
      return null
  }
}

const defined = (name: string, run: TaskDefinition['run']): TaskDefinition => ({
  name,
  run,
  bind: true,
  params: null,
  options: {
    ...DEFAULT_EXECUTION,
    queue: undefined,
    priority: undefined,
    expires: undefined,
    ignoreResult: undefined,
    resultExpires: undefined,
  },
})

/**
 * One item after the other. When one is to be retried by its task's own rules, the results so far go with the retry, which begins
 * there; when one fails for good they stay on the row, and a copy an operator sends begins there.
 */
async function runItems(
  name: string,
  task: TaskContext,
  kwargs: JsonObject,
  definitions: Definitions,
  now: () => number,
): Promise<readonly Json[]> {
  const results: Json[] = [...finishedItems(kwargs)]
  for (const call of itemCalls(name, kwargs).slice(results.length)) {
    task.signal.throwIfAborted()
    const inner = definitions(call.task)
    if (!inner) throw Object.assign(new Error(`no task named '${call.task}' is registered`), { name: 'NotRegistered' })
    try {
      results.push(((await callItem(inner, call, task, now)) ?? null) as Json)
    } catch (error) {
      const outcome = outcomeOfError(error, inner.options, task.request.retries, now(), Math.random())
      if (outcome.kind !== 'retrying') throw await kept(error, task, results)
      const cause = error instanceof Retry ? error.cause : error
      throw new Retry(outcome.eta, cause, { kwargs: { ...kwargs, done: results } })
    }
  }
  return results
}

/** The error, once the results so far are on the row. They may not come there: why the task failed is what is to be told. */
async function kept(error: unknown, task: TaskContext, results: readonly Json[]): Promise<unknown> {
  if (results.length > 0) await task.update({ meta: { done: results } }).catch(() => {})
  return error
}

function callItem(inner: TaskDefinition, { args, kwargs }: ItemCall, task: TaskContext, now: () => number): unknown {
  const run = inner.run as (...args: unknown[]) => unknown
  const called = callArguments(inner, args, kwargs)
  if (!inner.bind) return run(...called)
  const retry = (options: RetryOptions = {}): never => {
    const due = retryEta(inner.options, task.request.retries, options, now())
    if (due !== null) throw new Retry(due, options.error)
    throw options.error ?? new MaxRetriesExceededError(`Can't retry ${inner.name} in ${task.request.task}[${task.request.id}]`)
  }
  return run({ ...directContext(inner.name, args), signal: task.signal, retry }, ...called)
}
