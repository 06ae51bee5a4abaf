import * as compose from '../canvas/compose.js'
import type { FirstNeeds, Last, LastApplied, ResultsOf, Steps } from './composed.js'
import type { GroupResult } from './group-result.js'
import { Handle, handleOf, handlesOf, oneOf } from './handle.js'
import type { AnyResult, AnySignature, GroupSignature, NeedsOf, ResultOf, Signature } from './signature.js'
import type { Task } from './task-handle.js'

type Signatures = readonly AnySignature[]

/** What a chain of no steps is: there is nothing to send, and `applyAsync` answers null. */
type EmptyChain = Signature<readonly unknown[], null, null>

/**
 * One after the other, each with the result of the one before. A group is followed by what makes it a chord; a group of one is
 * that one, and the next step gets its result, not a list. Its result is the last step's, and `parent` leads back.
 *
 * @throws {UsageError} for what is no signature
 */
export function chain(steps?: readonly []): EmptyChain
export function chain<const S extends Signatures>(...steps: Steps<S>): Signature<FirstNeeds<S>, ResultOf<Last<S>>, LastApplied<S>>
export function chain<const S extends Signatures>(steps: Steps<S>): Signature<FirstNeeds<S>, ResultOf<Last<S>>, LastApplied<S>>
export function chain(...given: readonly unknown[]): unknown {
  const steps = handlesOf(unpacked(given), 'chain')
  const grouped = steps.at(-1)?.grouped ?? null
  return new Handle(compose.chain(steps.map(({ canvas }) => canvas)), oneOf(steps.map(({ send }) => send)), grouped)
}

/**
 * Side by side; the result is the list of their results, in this order. A group in a group is a part of it.
 *
 * @throws {UsageError} for what is no signature
 */
export function group<const M extends Signatures>(...members: M): GroupSignature<NeedsOf<M[number]>, ResultsOf<M>>
export function group<const M extends Signatures>(members: M): GroupSignature<NeedsOf<M[number]>, ResultsOf<M>>
export function group(...given: readonly unknown[]): unknown {
  const members = handlesOf(unpacked(given), 'group')
  return new Handle(compose.group(members.map(({ canvas }) => canvas)), oneOf(members.map(({ send }) => send)))
}

/**
 * A group, its header, and a body that is sent with the list of its results once all have succeeded. When a member fails the
 * others still run; the body does not, and fails with a `ChordError`.
 *
 * @throws {UsageError} for what is no signature
 */
export function chord<const M extends Signatures, R, Res extends AnyResult>(
  header: M,
  body: Signature<[NoInfer<ResultsOf<M>>], R, Res>,
): Signature<NeedsOf<M[number]>, R, Res>
export function chord<In extends readonly unknown[], Rs extends readonly unknown[], R, Res extends AnyResult>(
  header: Signature<In, Rs, GroupResult<Rs>>,
  body: Signature<[NoInfer<Rs>], R, Res>,
): Signature<In, R, Res>
export function chord(header: unknown, body: unknown): unknown {
  const members = handlesOf(header, 'chord')
  const { canvas, send, grouped } = handleOf(body, 'chord')
  const [only] = members
  const part = Array.isArray(header) || !only ? members.map((member) => member.canvas) : only.canvas
  return new Handle(compose.chord(part, canvas), oneOf([...members.map((member) => member.send), send]), grouped)
}

/** `task.chunks(items, n)`: a group of tasks that each call this one for up to `n` of the items. */
export const chunks = <A extends unknown[], R>(task: Task<A, R>, items: readonly A[], n: number): ReturnType<Task<A, R>['chunks']> =>
  task.chunks(items, n)

/** Signatures one by one, or in one list. */
const unpacked = (given: readonly unknown[]): unknown => (given.length === 1 ? given[0] : given)
