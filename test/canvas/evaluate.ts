import { createHash } from 'node:crypto'
import type { Json } from '../../src/lib/task/json.js'
import type { Canvas, TaskSignature } from '../../src/lib/task/signature.js'

/** One call of a task's function. */
export type Call = readonly [task: string, ...args: Json[]]

/** What a workflow comes to: one value, a list with a place for each task that has a part in it, or nothing at all. */
type Value = { readonly one: Json } | { readonly many: readonly Json[] } | null

/** Sums, products and such say little about who was called with what; this value says all of it. */
export function called([task, ...args]: Call): Json {
  const text = `${task}(${args.map((arg) => JSON.stringify(arg)).join(',')})`
  return text.length < 120 ? text : `${task}#${createHash('sha1').update(text).digest('hex').slice(0, 16)}`
}

/** What happens while a workflow runs. */
export interface Course {
  /** Every call that is made. */
  readonly calls: Call[]
  /** What the tasks called `swap` are replaced by. */
  readonly swap: Canvas | null
}

/** The workflow as its writer reads it, without a queue, a ledger or an id. */
export function evaluate(canvas: Canvas, leading: readonly Json[], course: Course): Json | undefined {
  const value = resolved(canvas, leading, course)
  return value === null ? undefined : json(value)
}

const json = (value: NonNullable<Value>): Json => ('one' in value ? value.one : value.many)

const listed = (value: Value): readonly Json[] => (value === null ? [] : 'one' in value ? [value.one] : value.many)

function resolved(canvas: Canvas, leading: readonly Json[], course: Course): Value {
  switch (canvas.kind) {
    case 'task':
      return { one: run(canvas, leading, course) }
    case 'chain':
      return chained(canvas.steps, leading, course)
    case 'group':
      return { many: canvas.members.flatMap((member) => listed(resolved(member, leading, course))) }
    case 'chord': {
      const header = canvas.header.flatMap((member) => listed(resolved(member, leading, course)))
      return resolved(canvas.body, [header], course)
    }
  }
}

function run(task: TaskSignature, leading: readonly Json[], course: Course): Json {
  const call: Call = [task.task, ...(task.immutable ? task.args : [...leading, ...task.args])]
  const value = task.task === 'swap' && course.swap ? swapped(course.swap, course) : called(call)
  if (task.task !== 'swap' || !course.swap) course.calls.push(call)
  for (const callback of task.options.link ?? []) resolved(callback, [value], course)
  return value
}

/** Within what replaces a task nothing is replaced. */
const swapped = (swap: Canvas, { calls }: Course): Json => evaluate(swap, [], { calls, swap: null }) ?? null

/** A group of one is that one, a group of none is not there unless it is first. */
function chained(steps: readonly Canvas[], leading: readonly Json[], course: Course): Value {
  return steps.flatMap(stepsOf).reduce((before: Value, step) => {
    if (before !== null && isEmpty(step)) return before
    const [only, ...others] = step.kind === 'group' ? membersOf(step) : []
    return resolved(only && others.length === 0 ? only : step, before === null ? leading : [json(before)], course) ?? before
  }, null)
}

/** A chain in a chain is its steps. */
const stepsOf = (canvas: Canvas): readonly Canvas[] => (canvas.kind === 'chain' ? canvas.steps.flatMap(stepsOf) : [canvas])

/** The members of a group and of the groups in it. */
const membersOf = (canvas: Canvas): readonly Canvas[] =>
  canvas.kind === 'group' ? canvas.members.flatMap(membersOf) : isEmpty(canvas) ? [] : [canvas]

/** No task is in it. */
export function isEmpty(canvas: Canvas): boolean {
  switch (canvas.kind) {
    case 'task':
      return false
    case 'chain':
      return canvas.steps.every(isEmpty)
    case 'group':
      return canvas.members.every(isEmpty)
    case 'chord':
      return canvas.header.every(isEmpty) && isEmpty(canvas.body)
  }
}
