/**
 * Which arguments a signature still needs, in types. What comes from elsewhere (the result before it, partial arguments) goes
 * before a signature's own arguments, so these are always the leading parameters.
 */

type List = readonly unknown[]

/** Every way to call a function with these parameters: one list for each number of optional ones. A rest parameter stays open. */
export type Calls<A extends List> = A extends readonly [infer First, ...infer Others]
  ? [First, ...Calls<Others>]
  : A extends readonly []
    ? []
    : number extends A['length']
      ? [...A]
      : A extends readonly [(infer First)?, ...infer Others]
        ? [] | [First, ...Calls<Others>]
        : never

/** The ends of a list, the whole and the empty one among them: what a signature may have as its own arguments. */
export type Ends<A extends List> = A extends readonly [unknown, ...infer Others] ? A | Ends<Others> : A

type AsMany<Own extends List> = { readonly [K in keyof Own]: unknown }

/** What comes before `Own` in a full list of arguments. */
export type Before<A extends List, Own extends List> = A extends unknown
  ? number extends A['length']
    ? A | (Own extends A ? [] : never)
    : A extends readonly [...infer Missing, ...AsMany<Own>]
      ? A extends readonly [...Missing, ...infer Rest]
        ? Own extends Rest
          ? Missing
          : never
        : never
      : never
  : never
