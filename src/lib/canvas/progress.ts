import type { Json, JsonObject } from '../task/json.js'
import { MAP, STARMAP } from './iterate.js'

/** The results that a map or a starmap has by now, as it keeps them in its `meta`, and as a copy of it is given them. */
export function finishedItems(kept: Json): readonly Json[] {
  const done = typeof kept === 'object' && kept !== null && 'done' in kept ? kept['done'] : null
  return Array.isArray(done) ? done : []
}

/** The kwargs of a copy of a task that failed with this `meta`: a map goes on after the items it has finished. */
export function kwargsOfCopy(task: string, kwargs: JsonObject, meta: Json): JsonObject {
  const done = task === MAP || task === STARMAP ? finishedItems(meta) : []
  return done.length > 0 ? { ...kwargs, done } : kwargs
}
