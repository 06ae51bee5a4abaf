import type { Canvas, Chain, Chord, Group } from '../task/signature.js'
import { withOptions } from './signature.js'

const stepsOf = (canvas: Canvas): readonly Canvas[] => (canvas.kind === 'chain' ? canvas.steps : [canvas])

const chainOf = (steps: readonly Canvas[]): Chain => ({ kind: 'chain', steps })

/** A group of one in a chain is that one: the next step gets its value and not a list. */
function unrolled(canvas: Canvas): Canvas {
  const [only, ...others] = canvas.kind === 'group' ? flat(canvas.members) : []
  return only && others.length === 0 ? only : canvas
}

const isEmptyGroup = (canvas: Canvas): boolean => canvas.kind === 'group' && flat(canvas.members).length === 0

/** Nothing runs. */
const isNothing = (canvas: Canvas): boolean => (canvas.kind === 'chain' ? canvas.steps.every(isNothing) : isEmptyGroup(canvas))

/** The frozen id of a group goes on as its chord's. */
function toChord({ members, groupId }: Group, body: Canvas): Chord {
  return { kind: 'chord', header: members, body, ...(groupId === undefined ? {} : { groupId }) }
}

/** Celery's `left | right`: `right` gets the result of `left`. */
export function pipe(left: Canvas, right: Canvas): Canvas {
  if (left.kind === 'chain') return pipeToChain(left, right)
  if (isNothing(right)) return left
  const next = unrolled(right)
  if (left.kind === 'group') return toChord(left, next)
  if (left.kind === 'chord' && (next.kind === 'task' || next.kind === 'chord' || next !== right)) {
    return { ...left, body: pipe(left.body, next) }
  }
  return chainOf([left, ...stepsOf(next)])
}

function pipeToChain(left: Chain, right: Canvas): Canvas {
  const next = unrolled(right)
  if (next.kind === 'chain') return next.steps.reduce<Canvas>(pipe, left)
  const last = left.steps.at(-1)
  if (!last) return next.kind === 'group' ? next : chainOf([next])
  if (isNothing(next)) return left
  if (last.kind === 'group') return chainOf(folded(left.steps.slice(0, -1), toChord(last, next)))
  if (last.kind === 'chord') return chainOf([...left.steps.slice(0, -1), { ...last, body: pipe(last.body, next) }])
  return chainOf([...left.steps, next])
}

/** A chord behind a chord is more of that chord's body. */
function folded(before: readonly Canvas[], chord: Chord): readonly Canvas[] {
  const previous = before.at(-1)
  if (previous?.kind !== 'chord') return [...before, chord]
  return [...before.slice(0, -1), { ...previous, body: pipe(previous.body, chord) }]
}

/** `a | b | c`. A chain that begins with a group is a chord, therefore; a chain of one is a chain. */
export function chain(parts: readonly Canvas[]): Canvas {
  const [only, ...others] = parts
  if (only && others.length === 0) return chainOf(stepsOf(unrolled(only)))
  return parts.reduce<Canvas>(pipe, chainOf([]))
}

export const group = (members: readonly Canvas[]): Group => ({ kind: 'group', members })

export function chord(header: readonly Canvas[] | Canvas, body: Canvas): Chord {
  if (!('kind' in header)) return toChord(group(header), body)
  return header.kind === 'group' ? toChord(header, body) : toChord(group([header]), body)
}

/**
 * Members start one after the other: the first after `start` seconds, each `step` later than the one before, none later than
 * `stop`. Skewed by 1 up to 3, four members wait 1, 2, 3 and 3 seconds.
 */
export function skew(canvas: Group, { start = 1, stop, step = 1 }: { start?: number; stop?: number; step?: number } = {}): Group {
  const most = stop === undefined ? Number.POSITIVE_INFINITY : Math.max(0, Math.floor((stop - start) / step))
  return { ...canvas, members: canvas.members.map((member, i) => withOptions(member, { countdown: start + Math.min(i, most) * step })) }
}

/**
 * The one form in which a workflow is sent. A chain in it holds tasks only, apart from its last step, and neither a chain of one
 * step nor a group within a group is left: what follows a group makes it a chord, what follows a chord joins that chord's body.
 * Empty groups in a chain go, unless nothing is before them: what follows such a one gets `[]`.
 */
export function normalise(canvas: Canvas): Canvas {
  switch (canvas.kind) {
    case 'task':
      return canvas
    case 'chain':
      return assembled(elements(canvas.steps))
    case 'group':
      return { ...canvas, members: flat(canvas.members) }
    case 'chord': {
      const header = { ...canvas, header: flat(canvas.header), body: normalise(canvas.body) }
      return isNothing(header.body) ? toGroup(header) : header
    }
  }
}

function toGroup({ header, groupId }: Chord): Group {
  return { kind: 'group', members: header, ...(groupId === undefined ? {} : { groupId }) }
}

const flat = (members: readonly Canvas[]): readonly Canvas[] =>
  members.map(normalise).flatMap((member) => (member.kind === 'group' ? member.members : isNothing(member) ? [] : [member]))

/** The steps of a chain and of the chains in it, in normal form. */
function elements(steps: readonly Canvas[]): readonly Canvas[] {
  const found = spliced(steps).flatMap((step) => stepsOf(unrolled(normalise(step))))
  return found.filter((step, i) => i === 0 || !isEmptyGroup(step))
}

const spliced = (steps: readonly Canvas[]): readonly Canvas[] =>
  steps.flatMap((step) => (step.kind === 'chain' ? spliced(step.steps) : [step]))

function assembled(steps: readonly Canvas[]): Canvas {
  const at = steps.findIndex((step) => step.kind !== 'task')
  const found = steps[at]
  if (found === undefined || found.kind === 'task' || found.kind === 'chain' || at === steps.length - 1) return shortest(steps)
  const rest = assembled(steps.slice(at + 1))
  return shortest([...steps.slice(0, at), found.kind === 'group' ? toChord(found, rest) : { ...found, body: joined(found.body, rest) }])
}

const joined = (left: Canvas, right: Canvas): Canvas => assembled([...stepsOf(left), ...stepsOf(right)])

const shortest = (steps: readonly Canvas[]): Canvas => (steps.length === 1 ? (steps[0] ?? chainOf(steps)) : chainOf(steps))

/** Whether the result of a workflow in normal form is a list of its leaves' results. */
export function endsInGroup(normal: Canvas): boolean {
  if (normal.kind === 'chord') return endsInGroup(normal.body)
  const last = normal.kind === 'chain' ? normal.steps.at(-1) : normal
  return last?.kind === 'group' || (last?.kind === 'chord' && endsInGroup(last))
}
