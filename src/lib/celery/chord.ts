import type { Culprit } from '../canvas/settle.js'
import type { Json } from '../task/json.js'
import { errorOfCelery } from './exceptions.js'

/** What a chord of Celery's comes to once all of its members have ended. */
export type ChordEnd =
  | { readonly kind: 'complete'; readonly results: readonly Json[] }
  | { readonly kind: 'failed'; readonly culprit: Culprit }

/** How a member ended, as its result is stored. */
export interface MemberEnd {
  readonly status: string
  readonly result: unknown
}

/** A member of a group as Celery writes it: its id, or, of a group in the group, its members. */
interface Member {
  readonly id: string
  readonly members: readonly Member[] | null
}

/** @throws {SyntaxError} for what is no list of `[[id, parent], members or null]` */
function nodes(tuples: unknown): readonly Member[] {
  if (!Array.isArray(tuples)) throw new SyntaxError('expected a list of results in the form of Celery')
  return tuples.map((tuple: unknown) => {
    const [head, members] = Array.isArray(tuple) ? tuple : []
    const id: unknown = Array.isArray(head) ? head[0] : head
    if (typeof id !== 'string') throw new SyntaxError('expected a result in the form of Celery')
    return { id, members: members === null || members === undefined ? null : nodes(members) }
  })
}

const leaves = (all: readonly Member[]): readonly string[] => all.flatMap(({ id, members }) => (members ? leaves(members) : [id]))

/** The ids of the tasks in a group, also of those in its groups. */
export const leafIds = (tuples: unknown): readonly string[] => leaves(nodes(tuples))

/** Of a chord of which it is not known who was in it. */
export const unreadable = (groupId: string): ChordEnd => ({
  kind: 'failed',
  culprit: {
    taskId: groupId,
    error: { type: 'ResultLost', message: "what is stored of the chord's header cannot be read", traceback: null },
  },
})

/** The results in the order and the shape of the group; or the first member that did not end well. */
export function chordEnd(tuples: unknown, endOf: (taskId: string) => MemberEnd | null): ChordEnd {
  const members = nodes(tuples)
  for (const taskId of leaves(members)) {
    const culprit = culpritOf(taskId, endOf(taskId))
    if (culprit) return { kind: 'failed', culprit }
  }
  const resultOf = ({ id, members: inner }: Member): Json => (inner ? inner.map(resultOf) : ((endOf(id)?.result ?? null) as Json))
  return { kind: 'complete', results: members.map(resultOf) }
}

function culpritOf(taskId: string, end: MemberEnd | null): Culprit | null {
  if (end?.status === 'SUCCESS') return null
  const lost = { type: 'ResultLost', message: 'its result is not stored where the chord could use it', traceback: null }
  return { taskId, error: (end && errorOfCelery(end.result)) ?? lost }
}
