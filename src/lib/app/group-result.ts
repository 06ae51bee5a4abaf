import type { Database } from '../database/database.js'
import { forgetGroup, groupOf } from '../ledger/groups.js'
import { forget } from '../ledger/purge.js'
import type { Standing } from '../ledger/standing.js'
import { PlainError } from '../task/errors.js'
import type { ResultTuple } from '../task/result-tuple.js'
import { beforeOf, type Result } from './lineage.js'
import type { Parts } from './parts.js'
import type { AsyncResult } from './result.js'
import { type Revoked, revokeAll } from './revoke.js'
import { errorOf, TaskError } from './task-error.js'
import { currentStandings, type GetOptions, waitForEnds } from './waiting.js'

/** A list of results in which any may be an error instead. */
export type OrErrors<Rs extends readonly unknown[]> = { -readonly [K in keyof Rs]: Rs[K] | TaskError }

/** A handle on the tasks of a group, in the order of the group. */
export class GroupResult<out Rs extends readonly unknown[] = readonly unknown[]> implements Result<Rs> {
  constructor(
    readonly id: string,
    readonly results: readonly AsyncResult[],
    private readonly parts: () => Promise<Parts>,
    readonly parent: Result | null = null,
  ) {}

  get length(): number {
    return this.results.length
  }

  [Symbol.iterator](): Iterator<AsyncResult> {
    return this.results[Symbol.iterator]()
  }

  /**
   * The list of their values, waiting for all of them.
   *
   * @throws {TaskError} as soon as one has failed or was revoked; with `propagate: false` errors stand in the list instead
   * @throws {TimeoutError} when they did not all end in time
   * @throws {UsageError} inside a task, unless `disableSyncSubtasks` is false
   */
  async get(options: GetOptions & { readonly propagate: false }): Promise<OrErrors<Rs>>
  async get(options?: GetOptions): Promise<Rs>
  async get(options: GetOptions = {}): Promise<Rs | OrErrors<Rs>> {
    if (this.length === 0) return [] as readonly unknown[] as Rs
    const propagate = options.propagate !== false
    const ends = await waitForEnds(await this.parts(), this.ids(), options, propagate)
    const values: readonly unknown[] = ends.map((end) => errorOf(end) ?? end.result)
    const error = propagate ? values.find((value) => value instanceof TaskError) : undefined
    if (error) throw error
    return values as Rs
  }

  /** Celery's other name of `get`. */
  join(options: GetOptions & { readonly propagate: false }): Promise<OrErrors<Rs>>
  join(options?: GetOptions): Promise<Rs>
  join(options: GetOptions = {}): Promise<Rs | OrErrors<Rs>> {
    return this.get(options)
  }

  /** Whether all have ended. */
  async ready(): Promise<boolean> {
    return (await this.standings()).every((standing) => standing?.finished)
  }

  /** Whether any has not ended. */
  async waiting(): Promise<boolean> {
    return !(await this.ready())
  }

  async successful(): Promise<boolean> {
    return (await this.completedCount()) === this.length
  }

  /** Whether any ended FAILURE. */
  async failed(): Promise<boolean> {
    return (await this.standings()).some((standing) => standing?.status === 'FAILURE')
  }

  /** How many ended SUCCESS. */
  async completedCount(): Promise<number> {
    return (await this.counts())['SUCCESS'] ?? 0
  }

  /** How many have each status. A chain's member counts as its last step, which is PENDING until it is sent. */
  async counts(): Promise<Readonly<Record<string, number>>> {
    const counts: Record<string, number> = {}
    for (const standing of await this.standings()) {
      const status = standing?.status ?? 'PENDING'
      counts[status] = (counts[status] ?? 0) + 1
    }
    return counts
  }

  /** Revokes its tasks and what would have followed, as `AsyncResult.revoke` does for one. */
  async revoke({ terminate = false }: { readonly terminate?: boolean } = {}): Promise<Revoked[]> {
    const parts = await this.parts()
    const { ids } = await currentStandings(parts.database, this.ids())
    return revokeAll(parts, ids, terminate, beforeOf(this, this.results))
  }

  /** Deletes the records of those that have ended and of their parents. Those of others stay: they keep them from being lost. */
  async forget(): Promise<void> {
    const database = await this.database()
    await database.write(async (sql) => {
      for (const id of [...beforeOf(this, this.results).taskIds, ...this.ids()]) await forget(sql, id)
    })
  }

  /** Its members are its children. */
  async children(): Promise<readonly AsyncResult[]> {
    return this.results
  }

  /** As `AsyncResult.asTuple`, with those of its tasks. */
  asTuple(): ResultTuple {
    return [[this.id, this.parent?.asTuple() ?? null], this.results.map((result) => result.asTuple())]
  }

  lineage(): readonly Result[] {
    return [...(this.parent?.lineage() ?? []), this, ...this.results.flatMap((result) => result.lineage())]
  }

  /**
   * Has `app.groupResult(id)` find it. A group is on record from the moment it is sent, in a chain once it begins, so there is
   * nothing left to do.
   *
   * @throws {PlainError} when its record was deleted
   */
  async save(): Promise<void> {
    if (!(await this.isKnown())) throw new PlainError(`the record of group ${this.id} was deleted`)
  }

  /**
   * Has `app.groupResult(id)` find it no longer. Its tasks stay.
   *
   * @throws {PlainError} when some have not ended
   */
  async delete(): Promise<void> {
    const database = await this.database()
    const deleted = await database.write((sql) => forgetGroup(sql, this.id))
    if (!deleted && (await this.isKnown())) throw new PlainError(`group ${this.id} has not ended; it cannot be deleted yet`)
  }

  /** Whether it is on record, or will be: something before it has not ended. */
  private async isKnown(): Promise<boolean> {
    const database = await this.database()
    const { standings } = await currentStandings(database, beforeOf(this, this.results).taskIds)
    return standings.some((standing) => standing?.finished === false) || (await groupOf(database, this.id)) !== null
  }

  private ids(): string[] {
    return this.results.map(({ id }) => id)
  }

  private async standings(): Promise<readonly (Standing | null)[]> {
    if (this.length === 0) return []
    return (await currentStandings(await this.database(), this.ids())).standings
  }

  private async database(): Promise<Database> {
    return (await this.parts()).database
  }
}
