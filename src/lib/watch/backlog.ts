import type { EventsOfTask, TaskEvent } from '../celery/events.js'

/** Events of one task that are not written yet. */
export interface Waiting {
  readonly events: EventsOfTask
  /** When the first of them came. */
  readonly since: number
}

/** What came and is not written yet, by task. */
export class Backlog {
  private tasks = new Map<string, Waiting>()

  add(event: TaskEvent, now: number): void {
    this.putBack({ events: [event], since: now })
  }

  /** Everything, and what has waited longest first, as a task does for those that it has sent; it is no longer here. */
  takeAll(): Waiting[] {
    const all = [...this.tasks.values()].sort((a, b) => a.since - b.since)
    this.tasks = new Map()
    return all
  }

  putBack({ events, since }: Waiting): void {
    const [{ id }] = events
    const there = this.tasks.get(id)
    this.tasks.set(id, there ? { events: [...there.events, ...events], since: Math.min(there.since, since) } : { events, since })
  }
}
