import type { Database } from '../database/database.js'
import { childrenOf, findTask } from '../ledger/find.js'
import { forget } from '../ledger/purge.js'
import { endsOf, type Standing } from '../ledger/standing.js'
import { PlainError } from '../task/errors.js'
import type { ResultTuple } from '../task/result-tuple.js'
import { beforeOf, type Result, stepsBefore } from './lineage.js'
import type { Parts } from './parts.js'
import { type Revoked, revoke } from './revoke.js'
import { errorOf, type TaskError } from './task-error.js'
import { currentStandings, type GetOptions, waitForEnds } from './waiting.js'

/** A handle on one recorded task. */
export class AsyncResult<out R = unknown> implements Result<R> {
  constructor(
    readonly id: string,
    private readonly parts: () => Promise<Parts>,
    private readonly ignored = false,
    readonly parent: Result | null = null,
  ) {}

  /**
   * The task's return value, waiting for it. For a scheduled task it is that of the task that was sent in its place.
   * Null at once for a task published with `ignoreResult`.
   *
   * @throws {TaskError} when the task failed or was revoked; in a chain the error of the step that did
   * @throws {TimeoutError} when it did not end in time
   * @throws {UsageError} inside a task, unless `disableSyncSubtasks` is false
   */
  async get(options: GetOptions & { readonly propagate: false }): Promise<R | TaskError>
  async get(options?: GetOptions): Promise<R>
  async get(options: GetOptions = {}): Promise<R | TaskError> {
    if (this.ignored) return null as R
    const parts = await this.parts()
    const [end] = await waitForEnds(parts, [this.id], options)
    const error = end ? errorOf(end) : null
    if (!error) return end?.result as R
    if (options.propagate === false) return error
    throw (await this.errorOfParent(parts.database)) ?? error
  }

  /** PENDING for an id the ledger does not know, as in Celery; `exists` tells the two apart. */
  async state(): Promise<string> {
    return (await this.standing())?.status ?? 'PENDING'
  }

  async exists(): Promise<boolean> {
    return (await findTask(await this.database(), this.id)) !== null
  }

  /** Whether the task, or the one sent in its place, has ended. */
  async ready(): Promise<boolean> {
    return (await this.standing())?.finished ?? false
  }

  async successful(): Promise<boolean> {
    return (await this.state()) === 'SUCCESS'
  }

  async failed(): Promise<boolean> {
    return (await this.state()) === 'FAILURE'
  }

  /** The stack of the task's error; null while it has none. */
  async traceback(): Promise<string | null> {
    return (await findTask(await this.database(), await this.currentId()))?.traceback ?? null
  }

  /**
   * Deletes the record of a finished task, with its history, those of its parents, and any message of them that the same
   * database holds.
   *
   * @throws {PlainError} when the task has not ended: its record is what keeps it from being lost
   */
  async forget(): Promise<void> {
    const { database, broker } = await this.parts()
    const { taskIds } = beforeOf(this)
    const forgotten = await database.write(async (sql) => {
      if (!(await forget(sql, this.id))) return false
      for (const id of taskIds) await forget(sql, id)
      await broker.within?.(sql).drop([this.id, ...taskIds])
      return true
    })
    if (!forgotten && (await this.exists())) throw new PlainError(`task ${this.id} has not ended; its record cannot be forgotten yet`)
  }

  /**
   * Has the task never start, or, with `terminate`, stopped when it runs; and with it what is open of its parents and all
   * that would have followed them. Row changes: they hold for workers that are down, too. What has ended is left alone.
   */
  async revoke({ terminate = false }: { readonly terminate?: boolean } = {}): Promise<Revoked> {
    return revoke(await this.parts(), await this.currentId(), terminate, beforeOf(this))
  }

  /** The tasks it published while it ran, its callbacks and the step after it. */
  async children(): Promise<readonly AsyncResult[]> {
    const database = await this.database()
    const ids = await childrenOf(database, await this.currentId())
    return ids.map((id) => new AsyncResult(id, this.parts))
  }

  /**
   * It, and everything that came of it, level by level, each with its value. Waits for each as `get` does.
   *
   * @throws {TaskError} at the first that failed or was revoked, unless `propagate` is false
   */
  async *collect(options: GetOptions = {}): AsyncGenerator<readonly [AsyncResult, unknown]> {
    for (let level: readonly AsyncResult[] = [this]; level.length > 0; ) {
      const next: AsyncResult[] = []
      for (const node of level) {
        yield [node, await node.get(options)]
        next.push(...(await node.children()))
      }
      level = next
    }
  }

  /** Its id and those of its parents as data, which is also what a task that returns it has as its result. */
  asTuple(): ResultTuple {
    return [[this.id, this.parent?.asTuple() ?? null], null]
  }

  lineage(): readonly Result[] {
    return [...(this.parent?.lineage() ?? []), this]
  }

  private async database(): Promise<Database> {
    return (await this.parts()).database
  }

  private async standing(): Promise<Standing | null> {
    return (await currentStandings(await this.database(), [this.id])).standings[0] ?? null
  }

  /** The id of the task that stands in its place; its own for most. */
  private async currentId(): Promise<string> {
    return (await currentStandings(await this.database(), [this.id])).ids[0] ?? this.id
  }

  /** In a chain the steps after a failed one end with its error: here is the one it is from. */
  private async errorOfParent(database: Database): Promise<TaskError | null> {
    const { ids } = await currentStandings(database, stepsBefore(this))
    const ends = await endsOf(database, ids)
    const errors = ids.map((id) => ends.get(id)).map((end) => end && errorOf(end))
    return errors.find((error) => error) ?? null
  }
}
