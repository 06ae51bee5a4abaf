import type { Delivery } from '../broker/broker.js'
import type { Started } from './beginnings.js'
import { Stop } from './stop.js'

/** A delivery in this worker's hands. */
export interface Running {
  readonly delivery: Delivery
  started: Started | null
  /** Given up by a shutdown: how its body ends, if it ever does, no longer counts. */
  abandoned: boolean
  readonly stop: Stop
  /** Its body has ended, and it ends together with others, who are waited for. */
  ending: boolean
  /** Until it has ended, or something else is to be waited for here. */
  done: Promise<void>
}

/** The deliveries in a worker's hands. Each takes a slot; of those that end together the slot is free while they are settled. */
export class Slots {
  private readonly running = new Map<Delivery, Running>()
  private readonly settling = new Set<Running>()
  private freed: (() => void) | null = null

  /** Slots that are taken. */
  get size(): number {
    return this.running.size - this.settling.size
  }

  get all(): readonly Running[] {
    return [...this.running.values()]
  }

  /** Resolves when there is one less of them, or when woken. */
  fewer(): Promise<void> {
    return new Promise((resolve) => {
      this.freed = resolve
    })
  }

  wake(): void {
    this.freed?.()
  }

  /** Resolves when what is under way now has ended. */
  async ended(): Promise<void> {
    await Promise.all(this.all.map(endOf))
  }

  take(delivery: Delivery): Running {
    const entry: Running = { delivery, started: null, abandoned: false, ending: false, stop: new Stop(), done: Promise.resolve() }
    this.running.set(delivery, entry)
    return entry
  }

  /** What starts in these slots now does so while those that had them are settled. */
  free(entries: readonly Running[]): void {
    for (const entry of entries) this.settling.add(entry)
    this.wake()
  }

  /** It needs its slot again, whoever has that now. */
  retake(entry: Running): void {
    this.settling.delete(entry)
  }

  release(entry: Running): void {
    this.running.delete(entry.delivery)
    this.settling.delete(entry)
    this.wake()
  }
}

/** Resolves when a delivery has ended, whatever it waits for by then. */
export async function endOf(entry: Running): Promise<void> {
  for (let done: Promise<void> | null = null; done !== entry.done; ) {
    done = entry.done
    await done
  }
}
