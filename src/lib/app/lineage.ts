import type { ResultHandle } from '../task/result-tuple.js'
import type { Before } from './ahead.js'
import type { Revoked } from './revoke.js'
import type { GetOptions } from './waiting.js'

/** What the result of one task and the results of a group have in common. They ask the ledger each time; they hold no state. */
export interface Result<out R = unknown> extends ResultHandle {
  readonly id: string
  /** What came before it in the workflow; null at its beginning, and for a handle made from an id. */
  readonly parent: Result | null
  get(options?: GetOptions): Promise<R>
  ready(): Promise<boolean>
  successful(): Promise<boolean>
  failed(): Promise<boolean>
  forget(): Promise<void>
  revoke(options?: { readonly terminate?: boolean }): Promise<Revoked | readonly Revoked[]>
  children(): Promise<readonly Result[]>
  /** All that leads to it in its workflow, the first of it first, and itself at the end; after a group come its members. */
  lineage(): readonly Result[]
}

const isGroup = (result: Result): boolean => 'results' in result

const idsOf = (results: readonly Result[]): string[] => results.map(({ id }) => id)

/** The ids of what leads to a result, without itself and its members. */
export function beforeOf(result: Result, members: readonly Result[] = []): Before {
  const own = new Set([result, ...members])
  const before = result.lineage().filter((one) => !own.has(one))
  return { taskIds: idsOf(before.filter((one) => !isGroup(one))), groupIds: idsOf(before.filter(isGroup)) }
}

/** The ids of the tasks that had to end before a result's own, the first one first; what is inside a group is not among them. */
export function stepsBefore({ parent }: Result): string[] {
  if (parent === null) return []
  return [...stepsBefore(parent), ...(isGroup(parent) ? [] : [parent.id])]
}
