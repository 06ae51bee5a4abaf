import type { GroupResult } from './group-result.js'
import type { AnyResult, AnySignature, AppliedOf, NeedsOf, ResultOf, Signature } from './signature.js'

/** How the types of a workflow follow from those of its parts. */

type Signatures = readonly AnySignature[]

/** The last of a list; of one whose length is not known, any. */
export type Last<S extends readonly unknown[]> = S extends readonly [...unknown[], infer End] ? End : S[number]

type EndsInGroup<S> = AppliedOf<S> extends GroupResult ? true : false

type Elements<S> = ResultOf<S> extends infer Rs extends readonly unknown[] ? Rs : never

/** What the step after `S` gets: of a group with one member that member's result, of any other the list. */
type Passed<S> = EndsInGroup<S> extends true ? (ResultOf<S> extends readonly [infer Only] ? Only : ResultOf<S>) : ResultOf<S>

type Beginning = { readonly beginning: true }

type Fit<Shifted, K> = K extends keyof Shifted
  ? Shifted[K] extends AnySignature
    ? Signature<[Passed<Shifted[K]>], unknown, AnyResult>
    : unknown
  : unknown

type IsUnion<T, Whole = T> = T extends unknown ? ([Whole] extends [T] ? false : true) : never

/**
 * Of steps nobody counted that all need something, each takes the result of another. Of others nobody knows which is the first,
 * or which comes after which.
 */
type Alike<S> =
  IsUnion<S> extends true
    ? unknown
    : [] extends NeedsOf<S>
      ? unknown
      : [NeedsOf<S>] extends [never]
        ? unknown
        : Signature<[Passed<S>], unknown, AnyResult>

/** The steps of a chain, each of which takes the result of the one before. */
export type Steps<S extends Signatures> = {
  readonly [K in keyof S]: S[K] & (number extends S['length'] ? Alike<S[number]> : Fit<readonly [Beginning, ...S], K>)
}

/** What a chain needs: what its first step does. */
export type FirstNeeds<S extends Signatures> = number extends S['length']
  ? [NeedsOf<S[0]>] extends [never]
    ? readonly unknown[]
    : NeedsOf<S[0]>
  : NeedsOf<S[0]>

/** What sending a chain returns: what its last step does, and null when it has none. */
export type LastApplied<S extends Signatures> = AppliedOf<Last<S>> | (number extends S['length'] ? null : never)

/** The list of results of a group. What a group in it, or a chain that ends in one, returns is a part of that list. */
export type ResultsOf<M extends readonly unknown[]> = number extends M['length']
  ? Item<M[number]>[]
  : M extends readonly [infer First, ...infer Others]
    ? [...(EndsInGroup<First> extends true ? Elements<First> : [ResultOf<First>]), ...ResultsOf<Others>]
    : []

type Item<S> = S extends AnySignature ? (EndsInGroup<S> extends true ? Elements<S>[number] : ResultOf<S>) : never
