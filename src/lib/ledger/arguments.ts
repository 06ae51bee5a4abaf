import { celeryBodyOf, toCelery } from '../canvas/celery-form.js'
import { tasksOf } from '../canvas/freeze.js'
import { ConfigurationError } from '../task/errors.js'
import { isJsonObject, type Json, type JsonObject } from '../task/json.js'
import type { MessageOptions, TaskMessage } from '../task/message.js'
import type { Canvas } from '../task/signature.js'
import type { StoredOptions } from './row.js'

export const REDACTED = '[redacted]'

/** The arguments of a message as its row holds them. */
export interface StoredArguments {
  readonly args: string
  readonly kwargs: string
  readonly options: string
}

/**
 * Which arguments the ledger must not keep, as paths: `kwargs.token`, `args[0].card`, `kwargs.users[*].email`.
 *
 * A row that still waits to be sent holds them, because sending needs them; the move that publishes its message
 * removes them, from what is to follow it in its workflow as well. So a published row never holds a redacted value, and can
 * never be sent again from the ledger.
 */
export class Redaction {
  private readonly paths: readonly (readonly string[])[]

  /** @throws {ConfigurationError} for a path that begins with neither args nor kwargs */
  constructor(private readonly spelled: readonly string[]) {
    this.paths = spelled.map((path) => {
      const steps = path.replaceAll(/\[(\d+|\*)\]/g, '.$1').split('.')
      if (steps.length < 2 || !['args', 'kwargs'].includes(steps[0] ?? '') || steps.includes('')) {
        throw new ConfigurationError(`redact: expected paths such as kwargs.token or args[0].card, got: ${path}`)
      }
      return steps
    })
  }

  /** Whether there is anything that the ledger must not keep. */
  get hidesAnything(): boolean {
    return this.paths.length > 0
  }

  /** @param published whether the message is, or in this same commit becomes, the broker's */
  stored(message: Arguments, published: boolean): StoredArguments {
    const found = published ? this.foundIn(message) : []
    if (found.length === 0) {
      return { args: JSON.stringify(message.args), kwargs: JSON.stringify(message.kwargs), options: JSON.stringify(message.options) }
    }
    const { args, kwargs } = this.cut(message)
    const options: StoredOptions = { ...this.cutLinks(message.options), redacted: found }
    return { args: JSON.stringify(args), kwargs: JSON.stringify(kwargs), options: JSON.stringify(options) }
  }

  /** Whether the row of a published message may not hold all of it. */
  cuts(message: TaskMessage): boolean {
    return this.foundIn(message).length > 0
  }

  /** Whether a workflow holds what the ledger must not keep longer than it needs it. */
  hides(canvas: Canvas): boolean {
    return callsIn(canvas).some((call) => this.paths.some((path) => holds(call, path)))
  }

  /** The paths that lead somewhere in a message. */
  private foundIn(message: Arguments): readonly string[] {
    const calls = this.paths.length > 0 ? callsOf(message) : []
    return this.spelled.filter((_, i) => calls.some((call) => holds(call, this.paths[i] ?? [])))
  }

  private cut({ args, kwargs }: Call): { readonly args: readonly Json[]; readonly kwargs: JsonObject } {
    const whole: Json = { args, kwargs }
    return this.paths.reduce<Json>((value, path) => without(value, path), whole) as { args: readonly Json[]; kwargs: JsonObject }
  }

  private cutLinks<Options extends Links>(options: Options): Options {
    const { link, linkError, chain, celery } = options
    const body = celeryBodyOf(options)
    const all = (canvases: readonly Canvas[]): readonly Canvas[] => canvases.map((one) => this.cutCanvas(one))
    return {
      ...options,
      ...(link ? { link: all(link) } : {}),
      ...(linkError ? { linkError: all(linkError) } : {}),
      ...(chain ? { chain: all(chain) } : {}),
      ...(body ? { celery: { ...celery, chord: toCelery(this.cutCanvas(body)) } } : {}),
    }
  }

  private cutCanvas(canvas: Canvas): Canvas {
    const inner = (one: Canvas): Canvas => this.cutCanvas(one)
    switch (canvas.kind) {
      case 'task':
        return { ...canvas, ...this.cut(canvas), options: this.cutLinks(canvas.options) }
      case 'chain':
        return { ...canvas, steps: canvas.steps.map(inner) }
      case 'group':
        return { ...canvas, members: canvas.members.map(inner) }
      case 'chord':
        return { ...canvas, header: canvas.header.map(inner), body: inner(canvas.body) }
    }
  }
}

/** Whether the ledger holds a workflow without some of its arguments, so that it can not be sent. */
export const isRedacted = (canvas: Canvas): boolean => callsIn(canvas).some((call) => holdsText(call, REDACTED))

function holdsText(value: Json, text: string): boolean {
  if (typeof value !== 'object' || value === null) return value === text
  return Object.values(value).some((inner) => holdsText(inner, text))
}

type Arguments = Pick<TaskMessage, 'args' | 'kwargs' | 'options'>
type Call = Pick<TaskMessage, 'args' | 'kwargs'>
type Links = Pick<MessageOptions, 'link' | 'linkError' | 'chain' | 'celery'>

/** A message's own call, and those that follow it. */
const callsOf = ({ args, kwargs, options }: Arguments): readonly JsonObject[] => [{ args, kwargs }, ...linkedCalls(options)]

function linkedCalls(options: Links): readonly JsonObject[] {
  const { link = [], linkError = [], chain = [] } = options
  const body = celeryBodyOf(options)
  return [...link, ...linkError, ...chain, ...(body ? [body] : [])].flatMap(callsIn)
}

const callsIn = (canvas: Canvas): readonly JsonObject[] =>
  tasksOf(canvas).flatMap(({ args, kwargs, options }) => [{ args, kwargs }, ...linkedCalls(options)])

/** The entries of `value` that one step of a path leads to. */
function entries(value: Json, step: string): [string, Json][] {
  if (!Array.isArray(value) && !isJsonObject(value)) return []
  return Object.entries(value as Record<string, Json>).filter(([key]) => step === '*' || key === step)
}

function holds(value: Json, [step, ...rest]: readonly string[]): boolean {
  if (step === undefined) return true
  return entries(value, step).some(([, inner]) => holds(inner, rest))
}

function without(value: Json, [step, ...rest]: readonly string[]): Json {
  if (step === undefined) return REDACTED
  const changed = Object.fromEntries(entries(value, step).map(([key, inner]) => [key, without(inner, rest)]))
  if (Array.isArray(value)) return value.map((inner, i) => changed[i] ?? inner)
  return isJsonObject(value) ? { ...value, ...changed } : value
}
