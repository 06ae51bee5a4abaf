import type { Knex } from 'knex'
import type { Broker } from '../broker/broker.js'
import type { Database } from '../database/database.js'
import { isTaken } from '../database/failure.js'
import { type Sql, sqlOfTransaction } from '../database/sql.js'
import type { Redaction } from '../ledger/arguments.js'
import { markPublished, recordTask } from '../ledger/record.js'
import { PlainError, UsageError } from '../task/errors.js'
import type { TaskMessage } from '../task/message.js'

/** Sees every message before it is recorded or sent. Throwing refuses the publish. */
export type BeforePublish = (message: TaskMessage) => void | Promise<void>

/** Sees every message once it is recorded and, unless it waits for its eta, the broker's. */
export type AfterPublish = (message: TaskMessage) => void | Promise<void>

export interface PublishHooks {
  readonly beforePublish: readonly BeforePublish[]
  readonly afterPublish: readonly AfterPublish[]
}

export interface PublishTerms {
  /** The caller's own transaction on the ledger's database: row and message are there once it commits. */
  readonly trx?: Knex.Transaction
  /** Asked in the commit that records the task; an answer other than null refuses it, and nothing is written. */
  readonly refusal?: (sql: Sql) => Promise<string | null>
}

/** A publish that the ledger's own state forbids. */
export class RefusedError extends PlainError {}

/** A second publish under one task id. */
export class TaskIdTakenError extends UsageError {
  constructor(taskId: string) {
    super(`a task with the id ${taskId} is recorded already; give another taskId, or none`)
  }
}

/** The one door to a broker: the row is written before the message, or with it. */
export class Publisher {
  constructor(
    private readonly database: Database,
    private readonly broker: Broker,
    private readonly redaction: Redaction,
    private readonly hooks: PublishHooks,
    private readonly tracking: { readonly trackPublish: boolean; readonly scheduleEta: boolean },
    private readonly now: () => number,
    private readonly report: (error: unknown) => void,
  ) {}

  /** Whether a row and its message are one commit. */
  get joins(): boolean {
    return this.broker.within !== null
  }

  /**
   * Records the task and hands its message to the broker. A message with a future eta stops after the row.
   *
   * @throws {TaskIdTakenError} when the id is recorded already
   * @throws {RefusedError} when `terms.refusal` answers why not
   */
  async publish(message: TaskMessage, terms: PublishTerms = {}): Promise<void> {
    for (const hook of this.hooks.beforePublish) await hook(message)
    await this.accept(message, terms)
    for (const hook of this.hooks.afterPublish) {
      try {
        await hook(message)
      } catch (error) {
        this.report(error) // the task is accepted: its caller must not take it for refused
      }
    }
  }

  /** Sends the message of a row that no broker has confirmed yet, and notes it on the row. */
  async publishRecorded(message: TaskMessage): Promise<void> {
    const { within } = this.broker
    const stored = this.redaction.stored(message, true)
    if (within) {
      await this.database.write(async (sql) => {
        if (await markPublished(sql, message, stored, this.now())) await within(sql).publish([message])
      })
    } else {
      await this.broker.publish([message])
      await this.database.write((sql) => markPublished(sql, message, stored, this.now()))
    }
  }

  /** Row and, where the broker lives in the same database, message, as part of a commit that does more. */
  async recordWithin(sql: Sql, message: TaskMessage): Promise<'published' | 'recorded'> {
    const within = this.broker.within?.(sql)
    const now = this.now()
    const waits = message.eta !== null && message.eta > now && this.tracking.scheduleEta
    if (waits || this.tracked(message)) {
      await recordTask(sql, message, this.redaction.stored(message, !waits && within !== undefined), {
        status: waits ? 'SCHEDULED' : 'PENDING',
        publishedAt: !waits && within ? now : null,
        maxRetries: null,
        eta: message.eta,
        retries: message.retries,
        started: null,
        now,
      })
    }
    if (waits) return 'published'
    await within?.publish([message])
    return within ? 'published' : 'recorded'
  }

  /** A copy an operator sends is recorded even when its result is ignored: the ledger must show that it was sent. */
  private tracked(message: TaskMessage): boolean {
    return (this.tracking.trackPublish && message.options.ignoreResult !== true) || message.retryOf !== null
  }

  private async accept(message: TaskMessage, { trx, refusal }: PublishTerms): Promise<void> {
    const record = async (sql: Sql) => {
      const refused = await refusal?.(sql)
      if (refused) throw new RefusedError(refused)
      return this.recordWithin(sql, message)
    }
    const done = await (trx ? record(await this.ownTransaction(trx)) : this.database.write(record)).catch((error) => {
      throw isTaken(error, 'task_result.task_id') ? new TaskIdTakenError(message.id) : error
    })
    if (done === 'published') return
    if (trx)
      void trx.executionPromise
        .then(
          () => this.send(message),
          () => {},
        )
        .catch(this.report) // rolled back: nothing to send
    else await this.send(message)
  }

  /**
   * An accepted task is not refused because its broker is away: its row stays unpublished, a sender sends it under
   * the same id, and until then `find-stale-tasks` lists it. A task without a row has only this one chance.
   */
  private async send(message: TaskMessage): Promise<void> {
    try {
      if (this.tracked(message)) await this.publishRecorded(message)
      else await this.broker.publish([message])
    } catch (error) {
      if (!this.tracked(message)) throw error
      this.report(error)
    }
  }

  private async ownTransaction(trx: Knex.Transaction): Promise<Sql> {
    const sql = sqlOfTransaction(trx)
    const [main] = await sql.all<{ file: string }>("SELECT file FROM pragma_database_list WHERE name = 'main'", [])
    const file = main?.file || ':memory:'
    if (file !== this.database.filename && file !== (await this.database.path())) {
      throw new UsageError(`trx: expected a transaction on the ledger's database ${this.database.filename}, got one on ${file}`)
    }
    return sql
  }
}
