import { UsageError } from '../task/errors.js'
import { isJsonObject, type Json, type JsonObject } from '../task/json.js'
import type { Group, TaskSignature } from '../task/signature.js'
import { fromCelery, toCelery } from './celery-form.js'
import { group } from './compose.js'
import { mergeTask, signature } from './signature.js'

/** The names of the tasks that every worker has. They are Celery's. */
export const MAP = 'celery.map'
export const STARMAP = 'celery.starmap'
export const ACCUMULATE = 'celery.accumulate'

/** One task that calls another for each item, one after the other, and has the list of the results. */
function iteration(name: typeof MAP | typeof STARMAP, task: TaskSignature, items: readonly Json[]): TaskSignature {
  const { queue, exchange, routingKey } = task.options
  return signature(name, {
    kwargs: { task: toCelery(task), it: items },
    options: { ...(queue === undefined ? {} : { queue }), ...(exchange === undefined ? {} : { exchange, routingKey }) },
    immutable: true,
  })
}

/** The task by whose name this one is routed: a map goes where the task goes that it calls. */
export function calledBy({ task, kwargs }: TaskSignature): string {
  const inner = task === MAP || task === STARMAP ? kwargs['task'] : undefined
  return isJsonObject(inner) && typeof inner['task'] === 'string' ? inner['task'] : task
}

/** `[task(x) for x of items]` in one task. */
export const map = (task: TaskSignature, items: readonly Json[]): TaskSignature => iteration(MAP, task, items)

/** `[task(...x) for x of items]` in one task. */
export const starmap = (task: TaskSignature, items: readonly (readonly Json[])[]): TaskSignature => iteration(STARMAP, task, items)

/**
 * `items` in a group of tasks that do up to `n` of them each.
 *
 * @throws {UsageError} for an `n` that is no whole number above 0
 */
export function chunks(task: TaskSignature, items: readonly (readonly Json[])[], n: number): Group {
  if (!Number.isInteger(n) || n < 1) throw new UsageError(`chunks: expected a whole number of items above 0, got: ${n}`)
  const count = Math.ceil(items.length / n)
  return group(Array.from({ length: count }, (_, i) => starmap(task, items.slice(i * n, (i + 1) * n))))
}

/** A task whose result is the first of its arguments: as the body of a chord it makes a group the list of its results. */
export const accumulate = (): TaskSignature => signature(ACCUMULATE, { kwargs: { index: 0 } })

/** What {@link ACCUMULATE} answers: the argument at `index`, or all of them. */
export function accumulated(args: readonly Json[], index: Json | undefined): Json {
  return typeof index === 'number' ? (args[index] ?? null) : args
}

/** One call that {@link MAP} or {@link STARMAP} makes. */
export interface ItemCall {
  readonly task: string
  readonly args: readonly Json[]
  readonly kwargs: JsonObject
}

/**
 * The calls that a map or a starmap with these kwargs makes, in order. An item goes before the inner signature's own arguments.
 *
 * @throws {UsageError} for kwargs that are not `{task, it}`
 */
export function itemCalls(name: string, kwargs: JsonObject): readonly ItemCall[] {
  const { task: inner, it } = kwargs
  const task = fromCelery(inner, 'kwargs.task')
  if (task.kind !== 'task') throw new UsageError(`kwargs.task: expected a single task, got: a ${task.kind}`)
  if (!Array.isArray(it)) throw new UsageError(`kwargs.it: expected an array, got: ${isJsonObject(it) ? 'an object' : String(it)}`)
  return it.map((item: Json, i) => {
    if (name === STARMAP && !Array.isArray(item))
      throw new UsageError(`kwargs.it[${i}]: expected an array of arguments, got: ${JSON.stringify(item)}`)
    const { args, kwargs: own } = mergeTask(task, { args: Array.isArray(item) && name === STARMAP ? item : [item] })
    return { task: task.task, args, kwargs: own }
  })
}
