import type { Broker, Delivery, Postings } from '../broker/broker.js'
import type { Database } from '../database/database.js'
import type { Sql } from '../database/sql.js'
import type { Redaction } from '../ledger/arguments.js'
import { recordAttempt } from '../ledger/attempts.js'
import {
  type End,
  endLease,
  failUnstarted,
  isRunning,
  moveToFailure,
  moveToRetry,
  moveToStarted,
  moveToSuccess,
  type Owner,
  removeOwned,
  revokeUnstarted,
} from '../ledger/moves.js'
import { recordTaskIfNew } from '../ledger/record.js'
import type { TaskDefinition } from '../task/definition.js'
import type { TaskMessage } from '../task/message.js'
import type { ErrorRecord, Outcome } from '../task/outcome.js'

export interface LifeSettings {
  readonly leaseMs: number
  /** Seconds; the app's default for how long a result is kept. */
  readonly resultExpires: number | null
}

/** An execution that has begun: what is needed to end it. */
export interface Started {
  readonly definition: TaskDefinition
  readonly delivery: Delivery
  readonly owner: Owner
  readonly late: boolean
  /** False for a task whose result is ignored: it has no row to move. */
  readonly recorded: boolean
}

/** The steps of a delivery's life, each one commit in which row and message move together where the broker allows it. */
export class Life {
  constructor(
    private readonly database: Database,
    private readonly broker: Broker,
    private readonly redaction: Redaction,
    private readonly workerId: string,
    private readonly settings: LifeSettings,
    private readonly now: () => number,
  ) {}

  /**
   * PENDING → STARTED, and the early ack. Null when the task is not to be run: it has ended, or a live worker has
   * it. Its message is then acked, unless it is a redelivered one that the live worker may still need.
   */
  async start(definition: TaskDefinition, delivery: Delivery): Promise<Started | null> {
    const { message } = delivery
    const owner: Owner = { taskId: message.id, workerId: this.workerId, deliveries: delivery.deliveries }
    const late = definition.acksLate
    const rowless = message.options.ignoreResult === true && message.retryOf === null
    return this.commit(delivery, async (sql) => {
      const now = this.now()
      // a late-ack row is never held longer than its message, or the redelivery would find it still held
      const leaseUntil = late ? delivery.leaseUntil : now + this.settings.leaseMs
      const recorded =
        (!(rowless && message.retries === 0) && (await this.take(sql, owner, definition, message, leaseUntil, now))) ||
        (!rowless && (await this.recordStarted(sql, owner, definition, message, leaseUntil, now)))
      const started = recorded || rowless ? { definition, delivery, owner, late, recorded } : null
      // a late-ack message taken from a live worker is all that is left of the task if that worker dies
      const keep = late && (started !== null || (delivery.deliveries > 1 && (await isRunning(sql, owner.taskId, message.retries, now))))
      return { value: started, ack: !keep }
    })
  }

  /** Ends an execution. False: the row was no longer this worker's; what it found is kept as a line of history. */
  async settle(started: Started, outcome: Outcome): Promise<boolean> {
    return this.commit(started.delivery, async (sql) => {
      const settled = !started.recorded ? await this.settleRowless(sql, started, outcome) : await this.move(sql, started, outcome)
      if (!settled) {
        const error =
          outcome.kind === 'succeeded' ? { type: 'LateResult', message: outcome.text ?? 'null', traceback: null } : outcome.error
        await recordAttempt(sql, started.owner.taskId, 'late-result', this.workerId, error, this.now())
      }
      return { value: settled, ack: started.late && settled }
    })
  }

  /** PENDING → FAILURE for a task that cannot be run here, written down first if nobody has. */
  async fail(delivery: Delivery, error: ErrorRecord): Promise<boolean> {
    return this.endUnstarted(delivery, (sql, end) => failUnstarted(sql, delivery.message.id, error, end))
  }

  /** PENDING → REVOKED. */
  async revoke(delivery: Delivery, reason: string): Promise<boolean> {
    return this.endUnstarted(delivery, (sql, end) => revokeUnstarted(sql, delivery.message.id, reason, end))
  }

  /** Puts a late-ack message back for another worker at once. */
  async giveBack(started: Started): Promise<void> {
    const { within } = this.broker
    await this.database.write(async (sql) => {
      await endLease(sql, started.owner, this.now())
      await within?.(sql).reject(started.delivery, { requeue: true })
    })
    if (!within) await this.broker.reject(started.delivery, { requeue: true })
  }

  private take(
    sql: Sql,
    owner: Owner,
    definition: TaskDefinition,
    message: TaskMessage,
    leaseUntil: number,
    now: number,
  ): Promise<boolean> {
    const options =
      definition.acksLate && !message.options.acksLate ? this.redaction.stored(this.noted(definition, message), true).options : null
    return moveToStarted(sql, owner, message.retries, leaseUntil, definition.policy.maxRetries, options, now)
  }

  private recordStarted(
    sql: Sql,
    owner: Owner,
    definition: TaskDefinition,
    message: TaskMessage,
    leaseUntil: number,
    now: number,
  ): Promise<boolean> {
    return recordTaskIfNew(sql, message, this.redaction.stored(this.noted(definition, message), true), {
      status: 'STARTED',
      publishedAt: message.submittedAt,
      maxRetries: definition.policy.maxRetries,
      eta: message.eta,
      retries: message.retries,
      started: { workerId: owner.workerId, leaseUntil, deliveries: owner.deliveries },
      now,
    })
  }

  /** The message with the ack mode that this worker's task declares; the row tells by it what a lost worker means. */
  private noted(definition: TaskDefinition, message: TaskMessage): TaskMessage {
    return definition.acksLate ? { ...message, options: { ...message.options, acksLate: true } } : message
  }

  private async move(sql: Sql, { owner, definition, delivery: { message } }: Started, outcome: Outcome): Promise<boolean> {
    const end = this.end(message, definition)
    switch (outcome.kind) {
      case 'succeeded':
        if (!message.options.ignoreResult) return moveToSuccess(sql, owner, outcome.text, end)
        return message.retryOf === null ? removeOwned(sql, owner) : moveToSuccess(sql, owner, null, end)
      case 'failed': {
        if (message.options.ignoreResult && message.retryOf === null) return removeOwned(sql, owner)
        const moved = await moveToFailure(sql, owner, outcome.error, end)
        if (moved) await recordAttempt(sql, owner.taskId, 'failure', this.workerId, outcome.error, end.at)
        return moved
      }
      case 'retrying': {
        const stored = this.redaction.stored(message, false)
        const moved = await moveToRetry(sql, owner, message.retries + 1, outcome.eta, outcome.error, stored, end.at)
        if (moved) await recordAttempt(sql, owner.taskId, 'retry', this.workerId, outcome.error, end.at)
        return moved
      }
    }
  }

  /** Without a row only a retry leaves something behind: the row that waits for it. */
  private async settleRowless(sql: Sql, { delivery: { message } }: Started, outcome: Outcome): Promise<boolean> {
    if (outcome.kind !== 'retrying') return true
    return recordTaskIfNew(sql, message, this.redaction.stored(message, false), {
      status: 'RETRY',
      publishedAt: null,
      maxRetries: null,
      eta: outcome.eta,
      retries: message.retries + 1,
      started: null,
      now: this.now(),
    })
  }

  private endUnstarted(delivery: Delivery, move: (sql: Sql, end: End) => Promise<boolean>): Promise<boolean> {
    const { message } = delivery
    return this.commit(delivery, async (sql) => {
      const end = this.end(message)
      let moved = await move(sql, end)
      if (!moved) {
        const stored = this.redaction.stored(message, true)
        const beginning = {
          status: 'PENDING',
          publishedAt: message.submittedAt,
          maxRetries: null,
          eta: message.eta,
          retries: message.retries,
          started: null,
          now: end.at,
        } as const
        moved = (await recordTaskIfNew(sql, message, stored, beginning)) && (await move(sql, end))
      }
      return { value: moved, ack: true }
    })
  }

  /** One commit; the ack is part of it where the broker lives in the same database, and follows it elsewhere. */
  private async commit<T>(delivery: Delivery, work: (sql: Sql) => Promise<{ value: T; ack: boolean }>): Promise<T> {
    const { within } = this.broker
    const { value, ack } = await this.database.write(async (sql) => {
      const done = await work(sql)
      if (done.ack && within) await (within(sql) satisfies Postings).ack(delivery)
      return done
    })
    if (ack && !within) await this.broker.ack(delivery)
    return value
  }

  /** The publish call decides how long the result is kept, else the task, else the app. */
  private end({ options }: TaskMessage, definition?: TaskDefinition): End {
    const at = this.now()
    const given = [options.resultExpires, definition?.resultExpires, this.settings.resultExpires].find((seconds) => seconds !== undefined)
    const seconds = given ?? null
    return { at, resultExpiresAt: seconds === null ? null : at + seconds * 1000 }
  }
}
