import { setTimeout as sleep } from 'node:timers/promises'
import type { Database } from '../database/database.js'
import { findTask, statusOf } from '../ledger/find.js'
import { forget } from '../ledger/purge.js'
import type { TaskRow } from '../ledger/row.js'
import { PlainError } from '../task/errors.js'

/** The task did not end within the time the caller gave; it goes on. */
export class TimeoutError extends Error {
  override readonly name = 'TimeoutError'
}

/** What `get()` throws for a task that failed or was revoked. Its `name` and `message` are the task's own error's. */
export class TaskError extends Error {
  constructor(
    readonly taskId: string,
    readonly status: string,
    errorType: string | null,
    errorMessage: string | null,
    /** The stack where the task ran; null when no code of the task was involved. */
    readonly traceback: string | null,
  ) {
    super(errorMessage ?? '')
    this.name = errorType ?? 'Error'
  }
}

export interface GetOptions {
  /** Seconds to wait. Default: as long as it takes. */
  readonly timeout?: number
  /** False: a task's error is returned instead of thrown. Default: true. */
  readonly propagate?: boolean
}

const POLL_MS = 20

/** A handle on one recorded task. It asks the ledger each time; it holds no state of its own. */
export class AsyncResult<R = unknown> {
  constructor(
    readonly id: string,
    private readonly database: () => Promise<Database>,
    private readonly ignored = false,
  ) {}

  /**
   * The task's return value, waiting for it. For a scheduled task it is that of the task that was sent in its place.
   * Null at once for a task published with `ignoreResult`.
   *
   * @throws {TaskError} when the task failed or was revoked
   * @throws {TimeoutError} when it did not end in time
   */
  async get(options: { readonly timeout?: number; readonly propagate: false }): Promise<R | TaskError>
  async get(options?: GetOptions): Promise<R>
  async get({ timeout, propagate = true }: GetOptions = {}): Promise<R | TaskError> {
    if (this.ignored) return null as R
    const row = await this.end(timeout === undefined ? Number.POSITIVE_INFINITY : Date.now() + timeout * 1000)
    if (row.status !== 'FAILURE' && row.status !== 'REVOKED') return row.result as R
    const error = new TaskError(row.taskId, row.status, row.errorType, row.errorMessage, row.traceback)
    if (propagate) throw error
    return error
  }

  /** PENDING for an id the ledger does not know, as in Celery; `exists` tells the two apart. */
  async state(): Promise<string> {
    const found = await statusOf(await this.database(), await this.sentId())
    return found?.status ?? 'PENDING'
  }

  async exists(): Promise<boolean> {
    return (await statusOf(await this.database(), this.id)) !== null
  }

  /** Whether the task, or the one sent in its place, has ended. */
  async ready(): Promise<boolean> {
    return (await statusOf(await this.database(), await this.sentId()))?.finished ?? false
  }

  async successful(): Promise<boolean> {
    return (await this.state()) === 'SUCCESS'
  }

  async failed(): Promise<boolean> {
    return (await this.state()) === 'FAILURE'
  }

  /** The stack of the task's error; null while it has none. */
  async traceback(): Promise<string | null> {
    return (await findTask(await this.database(), await this.sentId()))?.traceback ?? null
  }

  /**
   * Deletes the record of a finished task, with its history.
   *
   * @throws {PlainError} when the task has not ended: its record is what keeps it from being lost
   */
  async forget(): Promise<void> {
    const database = await this.database()
    if (await database.write((sql) => forget(sql, this.id))) return
    if (await this.exists()) throw new PlainError(`task ${this.id} has not ended; its record cannot be forgotten yet`)
  }

  /** The id of the task sent in place of a scheduled one; its own for any other. */
  private async sentId(): Promise<string> {
    const row = await findTask(await this.database(), this.id)
    return row?.status === 'SCHEDULED_SENT' ? newTaskId(row) : this.id
  }

  private async end(deadline: number): Promise<TaskRow> {
    const database = await this.database()
    let id = this.id
    for (;;) {
      if ((await statusOf(database, id))?.finished) {
        const row = await findTask(database, id)
        if (row && row.status !== 'SCHEDULED_SENT') return row
        if (row) id = newTaskId(row)
      }
      const left = deadline - Date.now()
      if (left <= 0) throw new TimeoutError('The operation timed out.')
      await sleep(Math.min(POLL_MS, left))
    }
  }
}

function newTaskId(row: TaskRow): string {
  const { result } = row
  const id = typeof result === 'object' && result !== null && 'new_task_id' in result ? result['new_task_id'] : row.scheduledId
  return typeof id === 'string' ? id : row.taskId
}
