import { type CeleryEvent, isOfTask } from '../celery/events.js'
import type { Sql } from '../database/sql.js'
import { beatOfLife, endLife, endOldLeases, type Life, renewLeases } from '../ledger/watched-workers.js'

/** Heartbeats that may fail to come before a worker counts as lost. */
const MISSED_BEATS = 3

/** A worker as its events show it. */
interface ShownLife extends Life {
  /** Seconds between two heartbeats; 0: none came yet. */
  readonly freq: number
  /** By the ledger's clock. */
  readonly heardAt: number
  /** It said goodbye. */
  readonly gone: boolean
  /** Since it was last taken to be written. */
  readonly heard: boolean
  /** It is new, or something but the time has changed since then. */
  readonly changed: boolean
}

/** Who is alive in the cluster. Every event of a worker is a sign of life; its heartbeats are the regular ones. */
export class Lives {
  private readonly known = new Map<string, ShownLife>()

  /** @param leaseMs how long a worker may be silent, unless its heartbeats come more seldom than that allows */
  constructor(private readonly leaseMs: number) {}

  get anyChanged(): boolean {
    return [...this.known.values()].some(({ changed }) => changed)
  }

  /** @param now by the ledger's clock */
  hear(event: CeleryEvent, now: number): void {
    if (event.kind === 'sent') return // its sender may be any program
    const { host: workerId, pid, at } = event
    const before = this.known.get(workerId)
    // a process that has begun nothing is a new one, even with the pid of the one before, as in a container
    const begun = event.kind === 'online' && event.processed === 0
    const isNew = !before || before.pid !== pid || (begun && at > before.since)
    if (before && isNew && at < before.since) return // of the life before
    const since = isNew ? at : Math.min(before.since, at)
    const freq = isOfTask(event) ? (before?.freq ?? 0) : event.freq
    const gone = event.kind === 'offline'
    const changed = isNew || before.changed || since !== before.since || gone !== before.gone
    this.known.set(workerId, { workerId, pid, since, begun: isNew ? begun : before.begun, freq, gone, heardAt: now, heard: true, changed })
  }

  readonly leaseMsOf = (workerId: string): number => Math.max(this.leaseMs, (this.known.get(workerId)?.freq ?? 0) * MISSED_BEATS * 1000)

  /** What is to be written now: what has changed, and when it is time to renew leases, whoever was heard. */
  take(renewing: boolean): ShownLife[] {
    const taken = [...this.known.values()].filter(({ changed, heard, gone }) => changed || (renewing && heard && !gone))
    for (const life of taken) {
      if (life.gone) this.known.delete(life.workerId)
      else this.known.set(life.workerId, { ...life, begun: false, heard: false, changed: false })
    }
    return taken
  }

  /** It could not be written. */
  putBack(lives: readonly ShownLife[]): void {
    for (const taken of lives) {
      const life = this.known.get(taken.workerId) ?? taken
      this.known.set(life.workerId, { ...life, begun: taken.begun || life.begun, heard: true, changed: true })
    }
  }
}

/** Writes who is alive, and with that the leases of what they have started. */
export async function writeLives(
  sql: Sql,
  lives: readonly ShownLife[],
  leaseMsOf: (workerId: string) => number,
  now: number,
): Promise<void> {
  const living = lives.filter(({ gone }) => !gone)
  for (const life of living) {
    await beatOfLife(sql, life, life.heardAt + leaseMsOf(life.workerId), life.heardAt)
    if (life.changed) await endOldLeases(sql, life.workerId, now)
  }
  const workerIds = living.map(({ workerId }) => workerId)
  if (workerIds.length > 0) await renewLeases(sql, workerIds)
  for (const { workerId, gone } of lives) if (gone) await endLife(sql, workerId, now)
}
