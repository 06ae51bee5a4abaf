import { setImmediate } from 'node:timers/promises'
import type { Standing } from '../ledger/standing.js'

/** The time between two looks, at least; it is a millisecond for so many tasks. */
const POLL_MS = 20
const TASKS_PER_MS = 50

type Standings = ReadonlyMap<string, Standing>

interface Look {
  readonly taskIds: Set<string>
  readonly standings: Promise<Standings>
}

/**
 * Looks how far tasks are, for all who wait in one program: one look at a time, and whoever asks meanwhile has part in the next.
 * So a thousand who wait for a task each cost no more statements than one who waits for a thousand.
 */
export class Lookout {
  /** How long whoever waits should wait before asking again. */
  pauseMs = POLL_MS
  private next: Look | null = null
  private last: Promise<unknown> = Promise.resolve()

  constructor(private readonly ask: (taskIds: readonly string[]) => Promise<Standings>) {}

  /** Of these tasks and of others that are asked about at this time. An id without a row is left out. */
  standingsOf(taskIds: readonly string[]): Promise<Standings> {
    this.next ??= this.begin()
    for (const taskId of taskIds) this.next.taskIds.add(taskId)
    return this.next.standings
  }

  private begin(): Look {
    const taskIds = new Set<string>()
    const standings = this.look(taskIds, this.last)
    this.last = standings.catch(() => {})
    return { taskIds, standings }
  }

  private async look(taskIds: ReadonlySet<string>, last: Promise<unknown>): Promise<Standings> {
    await last
    await setImmediate() // those who wake at one time ask one after the other
    this.next = null
    this.pauseMs = Math.max(POLL_MS, taskIds.size / TASKS_PER_MS)
    return this.ask([...taskIds])
  }
}
