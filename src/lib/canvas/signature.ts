import { isDeepStrictEqual } from 'node:util'
import type { CeleryExtras } from '../task/celery-extras.js'
import type { Json, JsonObject } from '../task/json.js'
import { isSaid } from '../task/routing.js'
import type { Canvas, Chord, SignatureOptions, TaskSignature } from '../task/signature.js'

/** What a call adds to a signature. */
export interface Additions {
  readonly args?: readonly Json[]
  readonly kwargs?: JsonObject
  readonly options?: SignatureOptions
}

/** Options that say who a task is. Once set, nothing changes them. */
const SET_ONCE: ReadonlySet<string> = new Set(['taskId', 'groupId', 'groupIndex'])

/** One fact in two forms: who gives the one takes the other back. */
const OTHER_FORM: Readonly<Record<string, string>> = { expires: 'expiresAt', expiresAt: 'expires', countdown: 'eta', eta: 'countdown' }

export function signature(
  task: string,
  { args = [], kwargs = {}, options = {}, immutable = false }: Additions & { readonly immutable?: boolean } = {},
): TaskSignature {
  return { kind: 'task', task, args, kwargs, options: mergeOptions({}, options), immutable }
}

/** The options of a signature once others are set on it: those win, apart from ids it has. Where a task goes is one thing. */
export function mergeOptions(own: SignatureOptions, added: SignatureOptions): SignatureOptions {
  const merged = new Map<string, unknown>(Object.entries(own))
  if (isSaid(added)) for (const name of ['queue', 'exchange', 'routingKey']) merged.delete(name)
  for (const [name, value] of Object.entries(added)) {
    if (value === undefined || (SET_ONCE.has(name) && merged.has(name))) continue
    merged.delete(OTHER_FORM[name] ?? '')
    merged.set(name, value)
  }
  return Object.fromEntries(merged)
}

export function mergeTask(task: TaskSignature, { args = [], kwargs = {}, options = {} }: Additions): TaskSignature {
  const merged = { ...task, options: mergeOptions(task.options, options) }
  return task.immutable ? merged : { ...merged, args: [...args, ...task.args], kwargs: { ...task.kwargs, ...kwargs } }
}

/** Changes the tasks that would be sent first: these get what comes from elsewhere. Of a chord they are in its header. */
export function mapFirst(canvas: Canvas, change: (task: TaskSignature) => TaskSignature): Canvas {
  const mapped = (inner: Canvas): Canvas => mapFirst(inner, change)
  switch (canvas.kind) {
    case 'task':
      return change(canvas)
    case 'chain': {
      const first = canvas.steps.findIndex((step) => !isEmptyChain(step))
      return { ...canvas, steps: canvas.steps.map((step, i) => (i === first ? mapped(step) : step)) }
    }
    case 'group':
      return { ...canvas, members: canvas.members.map(mapped) }
    case 'chord':
      return { ...canvas, header: canvas.header.map(mapped) }
  }
}

/** Nothing runs, and nothing has a result. */
const isEmptyChain = (canvas: Canvas): boolean => canvas.kind === 'chain' && canvas.steps.every(isEmptyChain)

/**
 * Celery's merge of a partial call: its args go before the signature's own, its kwargs and options win over them, except the ids
 * a frozen signature has. An immutable signature takes the options only.
 */
export const merge = (canvas: Canvas, added: Additions): Canvas => mapFirst(canvas, (task) => mergeTask(task, added))

/** The same call, which takes nothing from elsewhere. */
export const immutable = (canvas: Canvas): Canvas => mapFirst(canvas, (task) => ({ ...task, immutable: true }))

function mapLast(canvas: Canvas & { kind: 'chain' }, change: (step: Canvas) => Canvas): Canvas {
  const last = canvas.steps.findLastIndex((step) => !isEmptyChain(step))
  return { ...canvas, steps: canvas.steps.map((step, i) => (i === last ? change(step) : step)) }
}

/** Gives the id that the result of the whole has: the last step's, the group's own, the body's. One that is set stays. */
function withResultId(canvas: Canvas, id: string): Canvas {
  switch (canvas.kind) {
    case 'task':
      return mergeTask(canvas, { options: { taskId: id } })
    case 'chain':
      return mapLast(canvas, (step) => withResultId(step, id))
    case 'group':
      return { ...canvas, groupId: canvas.groupId ?? id }
    case 'chord':
      return { ...canvas, body: withResultId(canvas.body, id) }
  }
}

/**
 * Sets options as a call of the whole would (Celery's `set`): of a chain on its first step, of a group on every member, of a
 * chord on its header and its body. `taskId`, `link` and `linkError` go to where the result of the whole is, errbacks to every step.
 */
export function withOptions(canvas: Canvas, options: SignatureOptions): Canvas {
  if (canvas.kind === 'task') return mergeTask(canvas, { options })
  const { taskId, link = [], linkError = [], ...others } = options
  const linked = linkError.reduce(withErrback, link.reduce(withLink, canvas))
  const set = merge(taskId === undefined ? linked : withResultId(linked, taskId), { options: others })
  return set.kind === 'chord' ? { ...set, body: withOptions(set.body, others) } : set
}

/** Says whose place the whole takes for Celery's clients: the task that has its result gets it. */
export function standingFor(canvas: Canvas, celery: CeleryExtras): Canvas {
  switch (canvas.kind) {
    case 'task':
      return { ...canvas, options: { ...canvas.options, celery } }
    case 'chain':
      return mapLast(canvas, (step) => standingFor(step, celery))
    case 'group':
      return canvas
    case 'chord':
      return { ...canvas, body: standingFor(canvas.body, celery) }
  }
}

const withOne = (present: readonly Canvas[] = [], canvas: Canvas): readonly Canvas[] =>
  present.some((one) => isDeepStrictEqual(one, canvas)) ? present : [...present, canvas]

const appended = (task: TaskSignature, list: 'link' | 'linkError', canvas: Canvas): TaskSignature => ({
  ...task,
  options: { ...task.options, [list]: withOne(task.options[list], canvas) },
})

/**
 * Adds what is sent with the result. A group has no one result: its first member gets the callback, immutable, and sends it
 * whatever becomes of the others.
 */
export function withLink(canvas: Canvas, callback: Canvas): Canvas {
  switch (canvas.kind) {
    case 'task':
      return appended(canvas, 'link', callback)
    case 'chain':
      return mapLast(canvas, (step) => withLink(step, callback))
    case 'group':
      return { ...canvas, members: canvas.members.map((member, i) => (i === 0 ? withLink(member, immutable(callback)) : member)) }
    case 'chord':
      return { ...canvas, body: withLink(canvas.body, callback) }
  }
}

/**
 * Adds what is sent after a failure: to every step of a chain, every member of a group, the body of a chord. The chord remembers
 * it for its header, see {@link headerOf}.
 */
export function withErrback(canvas: Canvas, errback: Canvas): Canvas {
  const added = (inner: Canvas): Canvas => withErrback(inner, errback)
  switch (canvas.kind) {
    case 'task':
      return appended(canvas, 'linkError', errback)
    case 'chain':
      return { ...canvas, steps: canvas.steps.map(added) }
    case 'group':
      return { ...canvas, members: canvas.members.map(added) }
    case 'chord':
      return { ...canvas, body: added(canvas.body), linkError: withOne(canvas.linkError, errback) }
  }
}

/**
 * The header of a chord with the errbacks of the whole on each of its members: they are sent for every member that fails, and
 * once more for the body.
 */
export const headerOf = ({ header, linkError = [] }: Chord): readonly Canvas[] =>
  header.map((member) => linkError.reduce(withErrback, member))
