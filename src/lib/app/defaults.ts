import { calledBy } from '../canvas/iterate.js'
import { headerOf, mergeOptions } from '../canvas/signature.js'
import { checkLimits, type TaskDefaults } from '../publish/request.js'
import { addressOf, destinationOf, noExchange, type Routing } from '../task/routing.js'
import type { Canvas, SignatureOptions, TaskSignature } from '../task/signature.js'

/** What an app knows of a task of this name; null: nothing, it is another program's. */
export type KnownDefaults = (task: string) => (TaskDefaults & { readonly errback?: boolean }) | null

/** The settings that decide what a workflow is sent as. */
interface Sending extends Routing {
  readonly allowErrorCbOnChordHeader: boolean
  readonly broker: string
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

function completed(task: TaskSignature, known: KnownDefaults, sending: Sending): SignatureOptions {
  const { limits, acksLate, errback, expires, queue: _, ...defaults } = known(task.task) ?? {}
  checkLimits(task.options, limits ? { limits } : {})
  const called = calledBy(task)
  const destination = destinationOf(called, [task.options, known(called) ?? {}], sending)
  // of a later step nobody but the worker that sends it would hear
  if (destination.exchange !== '' && sending.broker === 'sql:') throw noExchange(task.task, destination.exchange)
  const flags = { ...(acksLate ? { acksLate } : {}), ...(errback ? { errback } : {}) }
  const given = { ...defaults, ...(typeof expires === 'number' ? { expires } : {}), ...addressOf(destination), ...flags }
  return mergeOptions(given, task.options)
}
