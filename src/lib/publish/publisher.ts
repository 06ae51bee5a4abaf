import type { Knex } from 'knex'
import type { Broker } from '../broker/broker.js'
import type { Launch } from '../canvas/launch.js'
import type { Database } from '../database/database.js'
import type { Sql } from '../database/sql.js'
import type { Redaction } from '../ledger/arguments.js'
import { findTaken } from '../ledger/find.js'
import { recordGroup } from '../ledger/groups.js'
import { recordTask, recordTaskIfNew } from '../ledger/record.js'
import { PlainError, UsageError } from '../task/errors.js'
import { type Failpoint, NO_FAILPOINT } from '../task/failpoint.js'
import { isPart, leavesNoRow, type TaskMessage } from '../task/message.js'
import { Handover } from './handover.js'
import { idsOf, repeatedId } from './launch-ids.js'

/** Sees every message that a publish call sends, before it is recorded. Throwing refuses the publish. */
export type BeforePublish = (message: TaskMessage) => void | Promise<void>

/** Sees every message of a publish call once it is recorded and, unless it waits for its eta, the broker's. */
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
  private readonly handover: Handover

  constructor(
    private readonly database: Database,
    private readonly broker: Broker,
    private readonly redaction: Redaction,
    private readonly hooks: PublishHooks,
    private readonly tracking: { readonly trackPublish: boolean; readonly scheduleEta: boolean },
    private readonly now: () => number,
    private readonly report: (error: unknown) => void,
    private readonly failpoint: Failpoint = NO_FAILPOINT,
  ) {
    this.handover = new Handover(database, broker, redaction, now, report, failpoint)
  }

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
    await this.announce(message)
  }

  /**
   * The same for all that a workflow begins with: every row, group and message of it is one commit. What follows later is
   * sent by whoever ends the task before it; the hooks see what is sent now.
   *
   * @throws {UsageError} when an id occurs twice in it
   * @throws {TaskIdTakenError} when one of its ids, also of what follows later, is recorded already
   * @throws {RefusedError} when `terms.refusal` answers why not
   */
  async publishCanvas(launch: Launch, { trx, refusal }: PublishTerms = {}): Promise<void> {
    for (const message of launch.messages) for (const hook of this.hooks.beforePublish) await hook(message)
    const ids = idsOf(launch)
    const repeated = repeatedId(ids.tasks) ?? repeatedId(ids.groups)
    if (repeated !== null) throw new UsageError(`the id ${repeated} occurs twice in this workflow; give each signature its own`)
    const record = async (sql: Sql) => {
      const refused = await refusal?.(sql)
      if (refused) throw new RefusedError(refused)
      const taken = await findTaken(sql, ids.tasks, ids.groups)
      if (taken !== null) throw new TaskIdTakenError(taken)
      return this.recordLaunch(sql, launch, 'all new')
    }
    await this.failpoint('publish:before')
    const unsent = await (trx ? record(await this.database.join(trx)) : this.database.write(record))
    await this.failpoint('publish:recorded')
    if (trx) this.afterCommit(trx, () => this.sendRecorded(unsent))
    else await this.sendRecorded(unsent)
    for (const message of launch.messages) await this.announce(message)
  }

  /** One commit of the ledger's, for whoever records here what others left to be sent. */
  commit<T>(work: (sql: Sql) => Promise<T>): Promise<T> {
    return this.database.write(work)
  }

  /** Sends the messages of rows that no broker has confirmed yet. Answers for each whether it was sent. */
  publishAllRecorded(messages: readonly TaskMessage[]): Promise<PromiseSettledResult<void>[]> {
    return this.handover.publishAll(messages)
  }

  /**
   * Hands over what `recordLaunch` has left to be handed to a broker elsewhere, once its commit is written. A broker that is
   * away is no failure: the rows stay unpublished, and a sender publishes them.
   */
  sendRecorded(messages: readonly TaskMessage[]): Promise<void> {
    return this.handover.sendRecorded(messages)
  }

  /**
   * Row and, where the broker lives in the same database, message, as part of a commit that does more. For a broker elsewhere
   * the row is written whatever tracking says: it is all that the commit leaves of the task, until the broker has confirmed it.
   */
  async recordWithin(sql: Sql, message: TaskMessage): Promise<void> {
    await this.record(sql, message, !this.joins || this.tracked(message), recordTask)
  }

  /**
   * Groups, rows and, where the broker lives in the same database, messages, as part of a commit that does more. What is
   * recorded already is left alone and not sent again. Returns what `sendRecorded` is to be given after the commit: of that
   * there is a row whatever tracking says, for it is all that the commit leaves of the task.
   *
   * @throws {TaskIdTakenError} for what is recorded already, when `all new` is asked for
   */
  async recordLaunch(sql: Sql, { groups, messages }: Launch, expected?: 'all new'): Promise<TaskMessage[]> {
    const unsent: TaskMessage[] = []
    for (const group of groups) {
      if (!(await recordGroup(sql, group, this.now())) && expected) throw new TaskIdTakenError(group.groupId)
    }
    for (const message of messages) {
      const done = await this.record(sql, message, !this.joins || this.tracked(message), recordTaskIfNew)
      if (done === 'known' && expected) throw new TaskIdTakenError(message.id)
      if (done === 'recorded') unsent.push(message)
    }
    return unsent
  }

  private async record(
    sql: Sql,
    message: TaskMessage,
    tracked: boolean,
    write: typeof recordTask | typeof recordTaskIfNew,
  ): Promise<'published' | 'recorded' | 'known'> {
    const within = this.broker.within?.(sql)
    const now = this.now()
    const waits = message.eta !== null && message.eta > now && this.tracking.scheduleEta
    if (waits || tracked) {
      const written = await write(sql, message, this.redaction.stored(message, !waits && within !== undefined), {
        status: waits ? 'SCHEDULED' : 'PENDING',
        publishedAt: !waits && within ? now : null,
        maxRetries: null,
        eta: message.eta,
        retries: message.retries,
        started: null,
        now,
      })
      if (written === false) return 'known'
    }
    if (waits) return 'published'
    await within?.publish([message])
    return within ? 'published' : 'recorded'
  }

  /**
   * A copy an operator sends is recorded even when its result is ignored: the ledger must show that it was sent. So is what
   * belongs to a workflow: others wait for its end.
   */
  private tracked(message: TaskMessage): boolean {
    return !leavesNoRow(message) && (this.tracking.trackPublish || message.retryOf !== null || isPart(message))
  }

  private async accept(message: TaskMessage, { trx, refusal }: PublishTerms): Promise<void> {
    // whether a transaction was committed only a row tells, and it is all that it leaves of the task
    const tracked = this.tracked(message) || (trx !== undefined && !this.joins)
    const record = async (sql: Sql) => {
      const refused = await refusal?.(sql)
      if (refused) throw new RefusedError(refused)
      // a statement that fails would be the end of the caller's own transaction
      const recorded = await this.record(sql, message, tracked, recordTaskIfNew)
      if (recorded === 'known') throw new TaskIdTakenError(message.id)
      return recorded
    }
    await this.failpoint('publish:before')
    const done = await (trx ? record(await this.database.join(trx)) : this.database.write(record, refusal ? '' : null))
    await this.failpoint('publish:recorded')
    if (done === 'published') return
    if (trx) this.afterCommit(trx, () => this.publishRecorded(message))
    else await this.send(message)
  }

  private async publishRecorded(message: TaskMessage): Promise<void> {
    const [sent] = await this.handover.publishAll([message])
    if (sent?.status === 'rejected') throw sent.reason
  }

  /** Knex may tell a rollback as it tells a commit: `send` is for what finds its rows, or not. */
  private afterCommit(trx: Knex.Transaction, send: () => Promise<void>): void {
    let outermost = trx
    while (outermost.parentTransaction) outermost = outermost.parentTransaction
    void outermost.executionPromise.then(send, () => {}).catch(this.report)
  }

  private async announce(message: TaskMessage): Promise<void> {
    for (const hook of this.hooks.afterPublish) {
      try {
        await hook(message)
      } catch (error) {
        this.report(error) // the task is accepted: its caller must not take it for refused
      }
    }
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
}
