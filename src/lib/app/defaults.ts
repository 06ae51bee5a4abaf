import { headerOf, mergeOptions } from '../canvas/signature.js'
import { calledBy, queueOf } from '../publish/queue-of.js'
import { checkLimits, type Routing, type TaskDefaults } from '../publish/request.js'
import type { Canvas, SignatureOptions, TaskSignature } from '../task/signature.js'

/** What an app knows of a task of this name; null: nothing, it is another program's. */
export type KnownDefaults = (task: string) => (TaskDefaults & { readonly errback?: boolean }) | null

/** The settings that decide what a workflow is sent as. */
interface Sending extends Routing {
  readonly allowErrorCbOnChordHeader: boolean
}

/**
 * The workflow with every task's defaults in its signature: whoever sends a later step needs no registry. A signature's own
 * options win over those of its task, these over a route. A task's `expires` stays relative: it counts from its sending. The
 * errbacks of a chord are on its header, too, where the app allows it.
 */
export function withDefaults(canvas: Canvas, known: KnownDefaults, sending: Sending): Canvas {
  const inner = (one: Canvas): Canvas => withDefaults(one, known, sending)
  switch (canvas.kind) {
    case 'task':
      return { ...canvas, options: linksWith(completed(canvas, known, sending), inner) }
    case 'chain':
      return { ...canvas, steps: canvas.steps.map(inner) }
    case 'group':
      return { ...canvas, members: canvas.members.map(inner) }
    case 'chord': {
      const { linkError: _, ...chord } = canvas
      const header = sending.allowErrorCbOnChordHeader ? headerOf(canvas) : canvas.header
      return { ...chord, header: header.map(inner), body: inner(canvas.body) }
    }
  }
}

function linksWith(options: SignatureOptions, inner: (canvas: Canvas) => Canvas): SignatureOptions {
  const { link, linkError } = options
  return { ...options, ...(link ? { link: link.map(inner) } : {}), ...(linkError ? { linkError: linkError.map(inner) } : {}) }
}

function completed(task: TaskSignature, known: KnownDefaults, routing: Routing): SignatureOptions {
  const { limits, acksLate, errback, expires, ...defaults } = known(task.task) ?? {}
  checkLimits(task.options, limits ? { limits } : {})
  const queue = known(calledBy(task))?.queue ?? queueOf(routing)(task)
  const flags = { ...(acksLate ? { acksLate } : {}), ...(errback ? { errback } : {}) }
  return mergeOptions({ ...defaults, ...(typeof expires === 'number' ? { expires } : {}), queue, ...flags }, task.options)
}
