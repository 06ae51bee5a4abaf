import type { TaskEvent } from '../celery/events.js'
import type { Database } from '../database/database.js'
import type { Follower } from '../publish/follow.js'
import { BusyError, UnavailableError } from '../task/errors.js'
import { Backlog, type Waiting } from './backlog.js'
import { recordEvents } from './record.js'
import type { RowTerms } from './watched-row.js'

/** How long an event waits for those that are usually before it: what a program publishes and what a worker does come on two ways. */
const PATIENCE_MS = 1000

/** Gathers the events of tasks, writes many in one commit, and sends what follows of ours. */
export class Recorder {
  /** Tasks that were written down. */
  recorded = 0
  private readonly backlog = new Backlog()

  /** @param watched the cluster, as rows name it */
  constructor(
    private readonly database: Database,
    private readonly follower: Follower,
    private readonly watched: string,
    private readonly terms: RowTerms,
    private readonly report: (error: unknown) => void,
    private readonly now: () => number,
  ) {}

  add(event: TaskEvent): void {
    this.backlog.add(event, this.now())
  }

  /** Writes what came, in one commit. False: the ledger could not be written to, and it is still to be written. */
  async flush(patient: boolean): Promise<boolean> {
    const failed = new Map<string, unknown>()
    const write = async (waiting: Waiting): Promise<boolean> => {
      try {
        await this.record(waiting, patient)
        return true
      } catch (error) {
        failed.set(String(error), error)
        if (isAway(error)) this.backlog.putBack(waiting)
        return !isAway(error) // anything else would fail again
      }
    }
    const written = await Promise.all(this.backlog.takeAll().map(write))
    for (const error of failed.values()) this.report(error)
    return !written.includes(false)
  }

  private async record(waiting: Waiting, patient: boolean): Promise<void> {
    const now = this.now()
    const waits = patient && now - waiting.since < PATIENCE_MS
    const { recorded, unsent } = await this.database.write((sql) => recordEvents(sql, waiting.events, this.watched, this.terms, waits, now))
    if (recorded === 'early') this.backlog.putBack(waiting)
    if (recorded === 'recorded') this.recorded += 1
    await this.follower.send(unsent).catch(this.report) // it is written: whoever sends what is left sends it
  }
}

/** The database may answer again. */
export const isAway = (error: unknown): boolean => error instanceof BusyError || error instanceof UnavailableError
