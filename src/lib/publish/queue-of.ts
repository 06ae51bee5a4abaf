import { MAP, STARMAP } from '../canvas/iterate.js'
import { isJsonObject } from '../task/json.js'
import type { TaskSignature } from '../task/signature.js'
import { type Routing, routed } from './request.js'

/** A map goes where the task goes that it calls. */
export function calledBy({ task, kwargs }: TaskSignature): string {
  const inner = task === MAP || task === STARMAP ? kwargs['task'] : undefined
  return isJsonObject(inner) && typeof inner['task'] === 'string' ? inner['task'] : task
}

/** Where a task goes whose signature names no queue, as those of Celery's clients do: its route, else the default queue. */
export const queueOf =
  ({ routes, defaultQueue }: Routing) =>
  (task: TaskSignature): string =>
    routed(calledBy(task), routes) ?? defaultQueue
