import type { Continuation } from '../canvas/continuation.js'
import type { Launch } from '../canvas/launch.js'
import type { Arrival, Settled, TaskEnd } from '../canvas/settle.js'
import type { CeleryEnd, Retrying } from '../celery/result-form.js'
import type { Sql } from '../database/sql.js'
import type { Redaction } from '../ledger/arguments.js'
import { recordUnbegun } from '../ledger/unbegun.js'
import type { TaskMessage } from '../task/message.js'
import { type CeleryResults, countsInCelery } from './celery-results.js'
import type { Chords } from './chords.js'
import type { Publisher } from './publisher.js'

/** What a commit recorded, and what others are still to be handed once it is written. */
export type Unsent =
  /** For a broker that lives elsewhere. */
  | { readonly kind: 'message'; readonly message: TaskMessage }
  /** For Celery's clients, where their results live elsewhere. */
  | { readonly kind: 'end'; readonly end: CeleryEnd }

/** Records what follows an end, in its commit. Every answer is what is left to be handed over once that is written. */
export class Continuations {
  constructor(
    private readonly publisher: Publisher,
    private readonly redaction: Redaction,
    private readonly chords: Chords,
    private readonly results: CeleryResults | null,
    private readonly settings: {
      /** Seconds; null: for ever. */
      readonly resultExpires: number | null
    },
    private readonly now: () => number,
  ) {}

  /**
   * An end may settle tasks that count in groups, and a group that is complete sends or settles more: until nothing is left.
   *
   * @param told whether Celery's clients have heard of what `first` settles
   */
  async carryOut(sql: Sql, first: Continuation, told = false): Promise<Unsent[]> {
    const unsent: Unsent[][] = []
    const todo: Continuation[] = [first]
    for (let next = todo.shift(); next; next = todo.shift()) {
      for (const launch of next.launches) unsent.push(await this.record(sql, launch))
      const { arrivals, untold } = await this.settle(sql, next, told && next === first)
      unsent.push(untold)
      for (const arrival of arrivals) {
        const following = await this.chords.arrived(sql, arrival)
        if (following) todo.push(following)
      }
    }
    return unsent.flat()
  }

  async record(sql: Sql, launch: Launch): Promise<Unsent[]> {
    return (await this.publisher.recordLaunch(sql, launch)).map((message) => ({ kind: 'message', message }))
  }

  /** False: the task has a row already, which is left alone. */
  recordSettled(sql: Sql, { message, status, error }: Omit<Settled, 'arrival'>): Promise<boolean> {
    const at = this.now()
    const { resultExpires = this.settings.resultExpires } = message.options
    const end = { at, resultExpiresAt: resultExpires === null ? null : at + resultExpires * 1000 }
    return recordUnbegun(sql, message, this.redaction.stored(message, true), { status, error }, end)
  }

  /**
   * Has Celery's clients hear of an end, if one may wait for it; the chord that it counts in may go on with it.
   *
   * @param keepsErrors whether the result of a failure is kept even of a task whose result is ignored
   */
  async keep(sql: Sql, message: TaskMessage, end: TaskEnd | Retrying, keepsErrors = false): Promise<Unsent[]> {
    const kept = await this.results?.keep(sql, message, end, keepsErrors)
    if (!kept) return []
    if (kept.untold) return [{ kind: 'end', end: kept.end }]
    return kept.chord ? this.carryOut(sql, this.chords.ofCelery(kept.end, kept.chord)) : []
  }

  /** Records what never ran: the ends that groups are to hear of, and Celery's clients. A task that had a row already is left as it is. */
  private async settle(
    sql: Sql,
    { settled, arrival }: Continuation,
    told: boolean,
  ): Promise<{ arrivals: readonly Arrival[]; untold: Unsent[] }> {
    const arrivals = arrival ? [arrival] : []
    const untold: Unsent[][] = []
    for (const one of settled) {
      if (!(await this.recordSettled(sql, one))) continue
      if (!told) untold.push(await this.keep(sql, one.message, endOf(one)))
      if (one.arrival && !countsInCelery(one.message)) arrivals.push(one.arrival)
    }
    return { arrivals, untold: untold.flat() }
  }
}

/** How a task that never ran ended. */
const endOf = ({ status, error }: Settled): TaskEnd => (status === 'IGNORED' || error === null ? { status: 'IGNORED' } : { status, error })
