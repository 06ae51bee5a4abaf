import { groupsOf, tasksOf } from '../canvas/freeze.js'
import type { Launch } from '../canvas/launch.js'
import type { Canvas } from '../task/signature.js'

/** Every id of a workflow that is frozen, also of what is sent later; callbacks and errbacks get theirs then. */
export function idsOf({ messages, groups }: Launch): { readonly tasks: readonly string[]; readonly groups: readonly string[] } {
  const later: readonly Canvas[] = [...messages.flatMap(({ options }) => options.chain ?? []), ...groups.flatMap(({ body }) => body ?? [])]
  return {
    tasks: [...messages.map(({ id }) => id), ...later.flatMap(tasksOf).flatMap(({ options }) => options.taskId ?? [])],
    groups: [...groups.map(({ groupId }) => groupId), ...later.flatMap(groupsOf).flatMap(({ groupId }) => groupId ?? [])],
  }
}

/** An id that occurs twice, or null. */
export function repeatedId(ids: readonly string[]): string | null {
  const seen = new Set<string>()
  for (const id of ids) {
    if (seen.has(id)) return id
    seen.add(id)
  }
  return null
}
