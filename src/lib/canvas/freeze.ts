import { UsageError } from '../task/errors.js'
import type { Canvas, Chord, Group, SignatureOptions, TaskSignature } from '../task/signature.js'
import { normalise } from './compose.js'
import { mapParts, partsOf } from './parts.js'

/** Where the next leaf of a group counts. */
interface Seats {
  readonly groupId: string
  next: number
}

/**
 * The workflow in normal form with an id for every task and every group in it, and each leaf of a group with its place there.
 * What has an id or a place keeps it, so freezing twice changes nothing. Callbacks and errbacks get their ids when they are sent.
 *
 * @throws {UsageError} for a task that counts in another group already
 */
export const freeze = (canvas: Canvas, newId: () => string): Canvas => frozen(normalise(canvas), newId, null)

/** Freezes what joins a group that exists: its leaves take the places from `seat.from` on. */
export function freezeInto(canvas: Canvas, seat: { readonly groupId: string; readonly from: number }, newId: () => string): Canvas {
  return frozen(normalise(canvas), newId, { groupId: seat.groupId, next: seat.from })
}

function frozen(canvas: Canvas, newId: () => string, seats: Seats | null): Canvas {
  switch (canvas.kind) {
    case 'task':
      return frozenTask(canvas, newId, seats)
    case 'chain':
      return { ...canvas, steps: canvas.steps.map((step, i) => frozen(step, newId, i === canvas.steps.length - 1 ? seats : null)) }
    case 'group': {
      const own = seats ?? ownSeats(canvas, newId)
      const members = canvas.members.map((member) => frozen(member, newId, own))
      return seats || !own ? { kind: 'group', members } : { kind: 'group', members, groupId: own.groupId }
    }
    case 'chord': {
      const own: Seats = { groupId: canvas.groupId ?? newId(), next: 0 }
      const header = canvas.header.map((member) => frozen(member, newId, own))
      return { ...canvas, header, body: frozen(canvas.body, newId, seats), groupId: own.groupId }
    }
  }
}

/** Null for the group a member chain ends in: its tasks are leaves of the group around it, and have their places. */
function ownSeats(group: Group, newId: () => string): Seats | null {
  const placed = leaves(group)
  if (group.groupId === undefined && placed.length > 0 && placed.every(({ options }) => options.groupId !== undefined)) return null
  return { groupId: group.groupId ?? newId(), next: 0 }
}

function frozenTask(task: TaskSignature, newId: () => string, seats: Seats | null): TaskSignature {
  const options: SignatureOptions = { ...task.options, taskId: task.options.taskId ?? newId() }
  if (!seats) return { ...task, options }
  const groupIndex = seats.next++
  if (options.groupId === undefined) return { ...task, options: { ...options, groupId: seats.groupId, groupIndex } }
  if (options.groupId === seats.groupId) return { ...task, options: { ...options, groupIndex: options.groupIndex ?? groupIndex } }
  throw new UsageError(
    `${task.task} ${options.taskId} counts in the group ${options.groupId} already; give this group a signature of its own`,
  )
}

/** The tasks whose ends count in a group around this workflow, in order: those that have its result. */
export function leaves(canvas: Canvas): readonly TaskSignature[] {
  switch (canvas.kind) {
    case 'task':
      return [canvas]
    case 'chain': {
      const last = canvas.steps.at(-1)
      return last ? leaves(last) : []
    }
    case 'group':
      return canvas.members.flatMap(leaves)
    case 'chord':
      return leaves(canvas.body)
  }
}

/** The id under which the result of a frozen workflow is found: a task's or a group's. Null for an empty chain. */
export function resultId(canvas: Canvas): string | null {
  switch (canvas.kind) {
    case 'task':
      return canvas.options.taskId ?? null
    case 'chain': {
      const last = canvas.steps.at(-1)
      return last ? resultId(last) : null
    }
    case 'group':
      return canvas.groupId ?? null
    case 'chord':
      return resultId(canvas.body)
  }
}

/** Every task of the workflow, in order; a chord's header before its body. Callbacks and errbacks are not of the workflow. */
export const tasksOf = (canvas: Canvas): readonly TaskSignature[] => (canvas.kind === 'task' ? [canvas] : partsOf(canvas).flatMap(tasksOf))

/** Every group of the workflow, the headers of its chords among them, outer before inner. */
export function groupsOf(canvas: Canvas): readonly (Group | Chord)[] {
  const inner = partsOf(canvas).flatMap(groupsOf)
  return canvas.kind === 'group' || canvas.kind === 'chord' ? [canvas, ...inner] : inner
}

/** The frozen workflow again, as one that has never run. */
export interface Refrozen {
  readonly canvas: Canvas
  /** The new id of every task and group in it that had one, by the old. */
  readonly ids: ReadonlyMap<string, string>
}

/**
 * Fresh ids for everything that has one, callbacks among it: a row that has ended never changes, so whatever runs again does so
 * under other ids. A place in a group outside the workflow stays.
 */
export function refreeze(canvas: Canvas, newId: () => string): Refrozen {
  const ids = new Map<string, string>()
  for (const id of idsOf(canvas)) if (!ids.has(id)) ids.set(id, newId())
  return { canvas: renamed(canvas, ids), ids }
}

const linksOf = ({ options }: TaskSignature): readonly Canvas[] => [...(options.link ?? []), ...(options.linkError ?? [])]

function idsOf(canvas: Canvas): readonly string[] {
  const groups = groupsOf(canvas).map(({ groupId }) => groupId)
  const tasks = tasksOf(canvas)
  const own = [...groups, ...tasks.map(({ options }) => options.taskId)].filter((id) => id !== undefined)
  return [...own, ...tasks.flatMap(linksOf).flatMap(idsOf)]
}

function renamed(canvas: Canvas, ids: ReadonlyMap<string, string>): Canvas {
  if (canvas.kind === 'task') return { ...canvas, options: renamedOptions(canvas.options, ids) }
  const whole = mapParts(canvas, (part) => renamed(part, ids))
  if (whole.kind === 'task' || whole.kind === 'chain' || whole.groupId === undefined) return whole
  return { ...whole, groupId: ids.get(whole.groupId) ?? whole.groupId }
}

function renamedOptions(options: SignatureOptions, ids: ReadonlyMap<string, string>): SignatureOptions {
  const { taskId, groupId, link, linkError } = options
  return {
    ...options,
    ...(taskId === undefined ? {} : { taskId: ids.get(taskId) ?? taskId }),
    ...(groupId === undefined ? {} : { groupId: ids.get(groupId) ?? groupId }),
    ...(link ? { link: link.map((one) => renamed(one, ids)) } : {}),
    ...(linkError ? { linkError: linkError.map((one) => renamed(one, ids)) } : {}),
  }
}
