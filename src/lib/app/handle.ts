import { toCelery } from '../canvas/celery-form.js'
import { normalise, pipe, skew } from '../canvas/compose.js'
import { freeze, leaves, resultId } from '../canvas/freeze.js'
import { immutable, merge, withErrback, withLink, withOptions } from '../canvas/signature.js'
import { UsageError } from '../task/errors.js'
import { newTaskId } from '../task/id.js'
import type { Json, JsonObject } from '../task/json.js'
import type { Canvas } from '../task/signature.js'
import { checkArguments, checkKwargs, checkSignatureOptions } from './checked.js'
import { asGroup } from './results-of.js'
import type { AnyResult, SignatureOptions, UntypedOptions } from './signature.js'

/**
 * Sends a canvas, as the app it belongs to does.
 *
 * @param grouped how many results the group has that it ends in; null: it ends in none
 */
export type Send = (canvas: Canvas, options: UntypedOptions, grouped: number | null) => Promise<AnyResult>

/** Every signature a user holds: a `Signature`, whose types say what it needs and gives. Those are the compiler's alone, and so not here. */
export class Handle {
  constructor(
    readonly canvas: Canvas,
    /** Null: an empty canvas, which is nobody's. */
    readonly send: Send | null,
    /** In a chain a group of one becomes that one, and an empty one goes; their results are a list all the same. */
    readonly grouped = canvas.kind === 'group' ? leaves(normalise(canvas)).length : null,
  ) {}

  get id(): string | null {
    return resultId(this.canvas)
  }

  async applyAsync(options: UntypedOptions = {}): Promise<AnyResult> {
    const send = this.send ?? sendNothing
    return send(this.canvas, options, this.grouped)
  }

  delay(...args: readonly unknown[]): Promise<AnyResult> {
    return this.applyAsync({ args })
  }

  set(options: SignatureOptions): Handle {
    const set = withOptions(this.canvas, checkSignatureOptions(options))
    return this.with(options.immutable ? immutable(set) : set)
  }

  clone(args: readonly unknown[] = [], kwargs: JsonObject = {}, options: SignatureOptions = {}): Handle {
    const merged = merge(this.canvas, { args: checkArguments(args), kwargs: checkKwargs(kwargs) })
    return this.with(merged).set(options)
  }

  link(callback: unknown): Handle {
    return this.with(withLink(this.canvas, handleOf(callback, 'link').canvas))
  }

  onError(errback: unknown): Handle {
    return this.with(withErrback(this.canvas, handleOf(errback, 'onError').canvas))
  }

  pipe(next: unknown): Handle {
    const { canvas, send, grouped } = handleOf(next, 'pipe')
    return new Handle(pipe(this.canvas, canvas), oneOf([this.send, send]), grouped)
  }

  freeze(id?: string): Handle {
    const named = id === undefined ? this.canvas : withOptions(this.canvas, checkSignatureOptions({ taskId: id }))
    return this.with(freeze(named, newTaskId))
  }

  skew(start = 1, stop?: number, step = 1): Handle {
    if (this.canvas.kind !== 'group') throw new UsageError(`skew: expected a group, got a ${this.canvas.kind}`)
    return this.with(skew(this.canvas, { start, step, ...(stop === undefined ? {} : { stop }) }))
  }

  group(): Handle {
    return this
  }

  toJSON(): Json {
    return toCelery(this.canvas)
  }

  private with(canvas: Canvas): Handle {
    return new Handle(canvas, this.send, this.grouped)
  }
}

/** An empty chain has no result, an empty group an empty one. */
const sendNothing: Send = async (_canvas, _options, grouped) =>
  grouped === null ? null : asGroup(null, grouped, () => Promise.reject(new UsageError('an empty group belongs to no app')))

/** What a caller gave where a signature is expected. */
export function handleOf(given: unknown, where: string): Handle {
  if (given instanceof Handle) return given
  throw new UsageError(
    `${where}: expected a signature such as add.s(2, 2), got: ${typeof given === 'function' ? 'a function' : JSON.stringify(given)}`,
  )
}

/** One signature, or a list of them. */
export const handlesOf = (given: unknown, where: string): readonly Handle[] =>
  (Array.isArray(given) ? given : [given]).map((one) => handleOf(one, where))

/** Who sends what is made of several signatures. */
export function oneOf(senders: readonly (Send | null)[]): Send | null {
  const [first = null, ...others] = new Set(senders.filter((send) => send !== null))
  if (others.length > 0) throw new UsageError('the signatures of one workflow belong to different apps')
  return first
}
