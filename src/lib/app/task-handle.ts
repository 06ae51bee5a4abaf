import { chunks, map, starmap } from '../canvas/iterate.js'
import { signature } from '../canvas/signature.js'
import { UsageError } from '../task/errors.js'
import type { Json, JsonObject } from '../task/json.js'
import type { TaskSignature } from '../task/signature.js'
import { checkArguments, checkKwargs, checkSignatureOptions } from './checked.js'
import { Handle, type Send } from './handle.js'
import type { Before, Calls, Ends } from './missing.js'
import type { AsyncResult } from './result.js'
import type { ApplyOptions, GroupSignature, Signature, SignatureOptions } from './signature.js'

/** What a task is called with that takes one argument. */
type Single<A extends readonly unknown[]> =
  Calls<A> extends infer C extends readonly unknown[]
    ? C extends readonly [infer Only]
      ? Only
      : number extends C['length']
        ? C[0]
        : never
    : never

/** A task as its callers hold it. Called directly, it runs here and now, without the ledger. */
export interface Task<A extends unknown[], R> {
  (...args: A): R
  readonly taskName: string
  /** Publishes the task. */
  delay(...args: A): Promise<AsyncResult<Awaited<R>>>
  /** Publishes the task with options. */
  applyAsync(args: A, options?: ApplyOptions<[Awaited<R>]>): Promise<AsyncResult<Awaited<R>>>
  /** With kwargs, the positional arguments may be fewer. */
  applyAsync(args: readonly Json[], options: ApplyOptions<[Awaited<R>]> & { readonly kwargs: JsonObject }): Promise<AsyncResult<Awaited<R>>>
  /** A signature with these arguments. What comes from elsewhere goes before them, so they are the last ones. */
  s<const Own extends Ends<Calls<A>>>(...own: Own): Signature<Before<Calls<A>, Own>, Awaited<R>>
  /** An immutable signature: it takes nothing from elsewhere. */
  si(...args: A): Signature<readonly unknown[], Awaited<R>>
  /** A signature with options. */
  signature<const Own extends Ends<Calls<A>>>(args: Own, options?: SignatureOptions): Signature<Before<Calls<A>, Own>, Awaited<R>>
  signature(args: readonly Json[], options: SignatureOptions & { readonly kwargs: JsonObject }): Signature<readonly unknown[], Awaited<R>>
  /** One task that calls this one for each item, in order, and returns the list. The calls are no tasks of their own. */
  map(items: readonly Single<A>[]): Signature<readonly unknown[], Awaited<R>[]>
  /** The same with a list of arguments for each call. */
  starmap(items: readonly A[]): Signature<readonly unknown[], Awaited<R>[]>
  /** A group of starmaps of up to `n` items each. */
  chunks(items: readonly A[], n: number): GroupSignature<readonly unknown[], Awaited<R>[][]>
}

/** What of a task's handle makes signatures. */
export function signatures(task: string, errback: boolean, send: Send) {
  const made = (args: readonly unknown[], { kwargs = {}, ...options }: SignatureOptions & { kwargs?: JsonObject } = {}): TaskSignature => {
    const { immutable = false } = options
    const own = { ...checkSignatureOptions(options), ...(errback ? { errback } : {}) }
    return signature(task, { args: checkArguments(args), kwargs: checkKwargs(kwargs), options: own, immutable })
  }
  const lists = (given: unknown, verb: string): readonly (readonly Json[])[] => {
    const items = checkArguments(given, 'items')
    const stray = items.find((item) => !Array.isArray(item))
    if (stray !== undefined) throw new UsageError(`${verb}: expected an array of arguments for each call, got: ${JSON.stringify(stray)}`)
    return items as readonly (readonly Json[])[]
  }
  return {
    s: (...args: readonly unknown[]) => new Handle(made(args), send),
    si: (...args: readonly unknown[]) => new Handle(made(args, { immutable: true }), send),
    signature: (args: readonly unknown[], options?: SignatureOptions & { kwargs?: JsonObject }) => new Handle(made(args, options), send),
    map: (given: unknown) => new Handle(map(made([]), checkArguments(given, 'items')), send),
    starmap: (given: unknown) => new Handle(starmap(made([]), lists(given, 'starmap')), send),
    chunks: (given: unknown, n: number) => new Handle(chunks(made([]), lists(given, 'chunks'), n), send),
  }
}
