import type { Knex } from 'knex'
import type { ErrbackRequest } from '../canvas/errbacks.js'
import type { PublishOptions } from '../publish/request.js'
import type { Json, JsonObject } from '../task/json.js'
import type { Canvas } from '../task/signature.js'
import type { GroupResult } from './group-result.js'
import type { Result } from './lineage.js'
import type { Before, Ends } from './missing.js'
import type { AsyncResult } from './result.js'

export type { ErrbackRequest }

declare const NEEDS: unique symbol
declare const GIVES: unique symbol

/** What sending a canvas returns: null for an empty chain. */
export type AnyResult = Result | null

/** Any signature, whatever it needs and gives. */
export type AnySignature = Signature<never, unknown, AnyResult>

/** What a signature says besides its arguments. They are Celery's options, in seconds. */
export interface SignatureOptions extends Omit<PublishOptions, 'kwargs'> {
  /** What comes from elsewhere (a result, partial arguments) is not added to its arguments. */
  readonly immutable?: boolean
}

/** The error an errback is told of. */
export interface ErrbackError {
  /** The error's name, for example `TypeError`. */
  readonly type: string
  readonly message: string
}

/** Run with the result of a task that succeeded. */
export type Callback<R> = Signature<[R], unknown, AnyResult>

/** Run for a task that failed, expired or was revoked: with `(request, error, traceback)` when declared `errback: true`, else with its id. */
export type Errback =
  | Signature<[request: ErrbackRequest, error: ErrbackError, traceback: string | null], unknown, AnyResult>
  | Signature<[request: ErrbackRequest, error: ErrbackError], unknown, AnyResult>
  | Signature<[request: ErrbackRequest], unknown, AnyResult>
  | Signature<[taskId: string], unknown, AnyResult>

/**
 * Options of one publish.
 *
 * @typeParam Passed what a callback is given
 */
export interface ApplyOptions<Passed extends readonly unknown[] = never> extends PublishOptions {
  /** The caller's own knex transaction on the ledger's database, if the publish is to be part of that. */
  readonly trx?: Knex.Transaction
  /** Sent with the result once the task has succeeded. */
  readonly link?: Signature<Passed, unknown, AnyResult> | readonly Signature<Passed, unknown, AnyResult>[]
  /** Sent once the task has failed, expired or been revoked. */
  readonly linkError?: Errback | readonly Errback[]
  /**
   * Which steps of a chain get the other options. `first` (default) is Celery's rule. With `every`, the queue, priority, headers,
   * time limits and expiry reach each step, and `expires` is one instant for all.
   */
  readonly scope?: 'first' | 'every'
  /** Seconds from now, or an instant, from which on no task of the workflow starts, and those that still wait end REVOKED. */
  readonly workflowExpires?: number | Date
}

/** The same where types are not known. `args` go before the signature's own arguments. */
export interface UntypedOptions extends ApplyOptions {
  readonly args?: readonly unknown[]
}

/**
 * A call of a task, or several composed, as a value: nothing is sent before `applyAsync`. It never changes; `set`, `link` and
 * `onError` return another one, where Celery's change the signature itself.
 *
 * @typeParam In the arguments that are still missing, which come from the step before or from `applyAsync({ args })`
 * @typeParam R what it returns in the end
 * @typeParam Res what `applyAsync` returns
 */
export interface Signature<in In extends readonly unknown[], out R, out Res extends AnyResult = AsyncResult<R>> {
  /** For the compiler only. */
  readonly [NEEDS]: (args: In) => void
  /** For the compiler only. */
  readonly [GIVES]: () => R
  readonly canvas: Canvas
  /** The id its result will have: that of a chain's last step, of a chord's body, of a group. Null until it is frozen. */
  readonly id: string | null

  /** Sends it. */
  applyAsync(this: Signature<[], R, Res>, options?: ApplyOptions<[R]>): Promise<Res>
  applyAsync(options: ApplyOptions<[R]> & { readonly args: In }): Promise<Res>
  /** With kwargs, the positional arguments may be fewer. */
  applyAsync(options: ApplyOptions<[R]> & { readonly args?: readonly Json[]; readonly kwargs: JsonObject }): Promise<Res>
  /** Sends it with the arguments that are missing. */
  delay(...args: In): Promise<Res>

  /** With these options, which win over its own. A chain, group or chord hands them to its parts as `applyAsync` does. */
  set(options: SignatureOptions & { readonly immutable: true }): Signature<readonly unknown[], R, Res>
  set(options: SignatureOptions): this
  /** A copy, with these arguments before its own and these kwargs and options over its own. */
  clone<S extends AnySignature, const Own extends Ends<NeedsOf<S>>>(
    this: S,
    args: Own,
    kwargs?: JsonObject,
    options?: SignatureOptions,
  ): Signature<Before<NeedsOf<S>, Own>, R, Res>
  clone(): this
  /** Also sends `callback`, with the result, once it has succeeded: after a chain's last step, after a chord's body. */
  link(callback: Callback<R>): this
  /** Also sends `errback` once a task of it has failed: linked to each step of a chain, each member of a group, a chord's body. */
  onError(errback: Errback): this
  /** Goes on with `next`, which gets the result. After a group, `next` is the body of a chord. */
  pipe<Next, NextRes extends AnyResult>(next: Signature<[R], Next, NextRes>): Signature<In, Next, NextRes>
  /**
   * The same with every id chosen. Sending it twice is then refused.
   *
   * @param id what `id` is to be
   */
  freeze(id?: string): this & { readonly id: string }
  /** Celery's form, which `app.signature` reads. */
  toJSON(): Json
}

/** Signatures side by side; their results are one list. */
export interface GroupSignature<in In extends readonly unknown[], out Rs extends readonly unknown[]>
  extends Signature<In, Rs, GroupResult<Rs>> {
  /** Members start one after the other: `start` seconds from now, then `step` more for each, at most `stop`. */
  skew(start?: number, stop?: number, step?: number): this
  /** The group itself: what `chunks` returns is one. */
  group(): this
}

/** The arguments a signature still needs; of several signatures, those that all of them take. */
export type NeedsOf<S> = [S] extends [Signature<infer In, unknown, AnyResult>] ? In : never

/** What a signature returns in the end. */
export type ResultOf<S> = S extends Signature<never, infer R, AnyResult> ? R : never

/** What sending a signature returns. */
export type AppliedOf<S> = S extends Signature<never, unknown, infer Res> ? Res : never
