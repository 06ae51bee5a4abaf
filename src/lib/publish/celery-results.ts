import type { TaskEnd } from '../canvas/settle.js'
import type { ChordEnd } from '../celery/chord.js'
import { type CeleryEnd, celeryEnd, type Retrying } from '../celery/result-form.js'
import type { OutsideStore, ResultStore } from '../celery/store.js'
import type { Database } from '../database/database.js'
import type { Sql } from '../database/sql.js'
import { anythingUntold, claimUntold, keepUntold, removeTold } from '../ledger/celery-outbox.js'
import { childrenOf } from '../ledger/find.js'
import { ConfigurationError, UnavailableError } from '../task/errors.js'
import { type Failpoint, NO_FAILPOINT } from '../task/failpoint.js'
import type { TaskMessage } from '../task/message.js'

/** A client that has not been told for so long waits no more: Celery itself keeps a result no longer than a day. */
const GIVEN_UP_AFTER_MS = 24 * 3_600_000

/** Whether its end counts in a chord of Celery's, of which the ledger has no group. */
export const countsInCelery = ({ options }: TaskMessage): boolean => options.celery?.chord !== undefined

/** What a commit has done with an end. */
export interface Kept {
  readonly end: CeleryEnd
  /** Whether the clients are still to be told, by `tell`. */
  readonly untold: boolean
  /** What the chord it counted in has come to. */
  readonly chord: ChordEnd | null
}

/** Sends what follows a chord, in a commit of its own. */
export type Release = (end: CeleryEnd, chord: ChordEnd) => Promise<void>

/**
 * Has Celery's clients hear of every end. A store in the ledger's database hears of it in the commit of the end; for any other that
 * commit leaves a line, which goes once the store has confirmed. So a crash, or a store that is away, loses no result: a sender takes
 * up the lines that nobody holds.
 */
export class CeleryResults {
  /** Chords whose members end here and count nowhere are told of once. */
  private toldOfChords = false

  constructor(
    private readonly database: Database,
    private readonly store: ResultStore,
    private readonly leaseMs: number,
    private readonly report: (error: unknown) => void,
    private readonly now: () => number,
    private readonly failpoint: Failpoint = NO_FAILPOINT,
  ) {}

  /**
   * In the commit of the end. Null: no client waits for it.
   *
   * @param keepsErrors whether the result of a failure is kept even of a task whose result is ignored
   */
  async keep(sql: Sql, message: TaskMessage, how: TaskEnd | Retrying, keepsErrors: boolean): Promise<Kept | null> {
    if (!this.takes(message)) return null
    const children = how.status === 'SUCCESS' ? await childrenOf(sql, message.id) : []
    const end = celeryEnd(message, how, { children, at: this.now(), keepsErrors })
    if (!end) return null
    if (this.store.kind === 'within') return { end, untold: false, chord: await this.store.store(sql, end) }
    await keepUntold(sql, { ...end, ending: JSON.stringify(end) }, this.now() + this.leaseMs)
    return { end, untold: true, chord: null }
  }

  /** After that commit. False: it could not be told, and is later: the task has ended, and nothing else waits for this. */
  async tell(end: CeleryEnd, release: Release): Promise<boolean> {
    if (this.store.kind === 'within') return true
    await this.failpoint('result:before')
    try {
      await this.tellStore(this.store, end, release)
      return true
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      this.report(
        new UnavailableError(`the result of ${end.task} ${end.taskId} is not stored for Celery's clients yet: ${why}`, { cause: error }),
      )
      return false
    }
  }

  /** Tells of all ends that somebody should have told of by now, as far as the store takes them. */
  async tellUntold(batch: number, release: Release): Promise<void> {
    for (;;) {
      const ends = await this.takeUp(batch)
      const told = await Promise.all(ends.map((end) => this.tell(end, release)))
      if (ends.length < batch || told.includes(false)) return
    }
  }

  close(): Promise<void> {
    return this.store.close()
  }

  /** Whether a client may wait for the end of this task. */
  takes(message: TaskMessage): boolean {
    if (countsInCelery(message) && !this.store.counts) this.tellOfChord(message)
    return this.store.takes(message)
  }

  /** The ends that clients should have been told of by now; from now on they are this process's to tell. */
  private async takeUp(limit: number): Promise<CeleryEnd[]> {
    if (this.store.kind === 'within') return []
    const now = this.now()
    if (!(await anythingUntold(this.database, now))) return []
    const lines = await this.database.write((sql) => claimUntold(sql, now, now + this.leaseMs, limit))
    const ends = lines.map((line) => JSON.parse(line) as CeleryEnd)
    const late = ends.filter(({ at }) => at < now - GIVEN_UP_AFTER_MS)
    for (const end of late) {
      this.report(
        new UnavailableError(`the result of ${end.task} ${end.taskId} could not be stored for Celery's clients for a day: it is given up`),
      )
      await this.remove(end)
    }
    return ends.filter((end) => !late.includes(end))
  }

  private tellOfChord({ id, task }: TaskMessage): void {
    if (this.toldOfChords) return
    this.toldOfChords = true
    this.report(
      new ConfigurationError(`${task} ${id} is of a chord of Celery's that does not hear of its end`, {
        hint: 'name the result backend of that Celery in the setting celeryResults',
      }),
    )
  }

  private async tellStore(store: OutsideStore, end: CeleryEnd, release: Release): Promise<void> {
    const chord = await store.store(end)
    await this.failpoint('result:stored')
    if (chord) {
      await release(end, chord)
      await this.failpoint('result:released')
      // the parts of a chord that failed stay, as Celery has them stay
      if (chord.kind === 'complete' && end.groupId !== null) await store.release(end.groupId)
    }
    await this.remove(end)
    await this.failpoint('result:told')
  }

  private remove(end: CeleryEnd): Promise<void> {
    return this.database.write((sql) => removeTold(sql, end))
  }
}
