import type { Sql } from '../database/sql.js'
import type { TaskMessage } from '../task/message.js'
import type { ChordEnd } from './chord.js'
import type { CeleryEnd } from './result-form.js'

/** Where results are stored that lives outside the ledger's database. What it is told may be told it again: that does no harm. */
export interface OutsideStore {
  readonly kind: 'outside'
  /** Whether it counts the members of Celery's chords. */
  readonly counts: boolean
  /** Whether anybody could be told of the end of such a task. */
  takes(message: TaskMessage): boolean
  /**
   * Stores a result, and counts it in its chord. Returns what the chord comes to when this was the last that it waited for, and
   * again so until `release`; null: nothing follows.
   */
  store(end: CeleryEnd): Promise<ChordEnd | null>
  /** The body of the chord has been sent: nothing is counted any more. */
  release(groupId: string): Promise<void>
  close(): Promise<void>
}

/** Results stored in the ledger's own database: each in the commit that ends its task, and so exactly once. */
export interface WithinStore {
  readonly kind: 'within'
  readonly counts: boolean
  takes(message: TaskMessage): boolean
  store(sql: Sql, end: CeleryEnd): Promise<ChordEnd | null>
  close(): Promise<void>
}

/** Where Celery's clients look for results. */
export type ResultStore = OutsideStore | WithinStore
