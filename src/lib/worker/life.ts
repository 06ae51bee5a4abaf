import type { Broker, Delivery } from '../broker/broker.js'
import type { TaskEnd } from '../canvas/settle.js'
import type { Database } from '../database/database.js'
import type { Sql } from '../database/sql.js'
import type { Redaction } from '../ledger/arguments.js'
import { recordAttempt, rejectionsOf } from '../ledger/attempts.js'
import { type End, failUnstarted, moveAllToSuccess, revokeUnstarted } from '../ledger/ends.js'
import { findTask } from '../ledger/find.js'
import { extendLease, moveToPending, moveToRetry, updateOwned } from '../ledger/moves.js'
import { pending, recordTaskIfNew } from '../ledger/record.js'
import { isRunning } from '../ledger/starts.js'
import { type Follower, revokedFor } from '../publish/follow.js'
import type { TaskDefinition, TaskUpdate } from '../task/definition.js'
import { UsageError } from '../task/errors.js'
import { type Failpoint, NO_FAILPOINT } from '../task/failpoint.js'
import { encodeJson } from '../task/json.js'
import { leavesNoRow, type TaskMessage } from '../task/message.js'
import type { ErrorRecord, Outcome } from '../task/outcome.js'
import { STATUSES } from '../task/status.js'
import { type Beginning, Beginnings, type Started } from './beginnings.js'
import { type Ending, moveToEnd, resultOf, type Success } from './ending.js'
import { following } from './following.js'
import { shutDown } from './reasons.js'
import { type Fate, groupOrder, type JointDecision, type JointStep, type Stepped, Steps } from './steps.js'
import { verdictOn } from './verdict.js'
import { waits } from './waiting.js'

export type { Started } from './beginnings.js'

export interface LifeSettings {
  readonly leaseMs: number
  readonly maxDeliveries: number
  /** Seconds; the app's default for how long a result is kept. */
  readonly resultExpires: number | null
}

/** A delivery whose execution ended well. */
export interface Succeeded {
  readonly started: Started
  readonly delivery: Delivery
  readonly outcome: Success
}

/** The steps of a delivery's life, each one commit in which row and message move together where the broker allows it. */
export class Life {
  private readonly steps: Steps
  private readonly beginnings: Beginnings
  private readonly startTogether: JointStep<Beginning, Started | null>
  private readonly succeedTogether: JointStep<Succeeded, Outcome | null>

  constructor(
    private readonly database: Database,
    broker: Broker,
    private readonly redaction: Redaction,
    private readonly follower: Follower,
    private readonly workerId: string,
    private readonly settings: LifeSettings,
    private readonly now: () => number,
    failpoint: Failpoint = NO_FAILPOINT,
  ) {
    this.steps = new Steps(database, broker, follower, failpoint)
    this.beginnings = new Beginnings(redaction, workerId, settings.leaseMs)
    this.startTogether = this.steps.jointly('start', (sql, all: readonly Beginning[]) => this.beginTogether(sql, all))
    this.succeedTogether = this.steps.jointly('finish', (sql, all: readonly Succeeded[]) => this.succeedAll(sql, all))
  }

  /** `startAll` in a commit under way, without the acks: those that do not ack late are to be acked in it. */
  startWithin(sql: Sql, all: readonly Beginning[]): Promise<(Started | null)[]> {
    return this.beginnings.beginAll(sql, all, this.now())
  }

  /** `start` of many plain ones. Null: `start` is to say what becomes of it. */
  async startAll(all: readonly Beginning[]): Promise<readonly (Started | null)[]> {
    const steps = await this.startTogether(all)
    if (!steps) return all.map(() => null)
    return Promise.all(steps.map(({ value, held }) => (value === null || held ? value : this.ifStillOwned(value))))
  }

  /**
   * PENDING → STARTED, and the early ack. Null when the task is not to be run: it has ended, a live worker has it, or it
   * is not its time or turn. Its message is then acked, unless it is a redelivered one that the live worker may still need.
   */
  async start(definition: TaskDefinition, delivery: Delivery): Promise<Started | null> {
    const { message } = delivery
    const order = definition.options.rateLimit === null ? null : message.task // turns are taken one after the other
    const step: Stepped<Started | null> = await this.steps.take('start', delivery, order, async (sql) => {
      const now = this.now()
      if (await waits(sql, definition, message, this.redaction, now)) return { value: null, fate: 'ack' }
      const started = await this.beginnings.begin(sql, { definition, delivery }, now)
      if (started) return { value: started, fate: started.late ? 'keep' : 'ack' }
      // a late-ack message taken from a live worker is all that is left of the task if that worker dies
      const again = definition.options.acksLate && delivery.deliveries !== 1
      return { value: null, fate: again && (await isRunning(sql, message.id, message.retries, now)) ? 'keep' : 'ack' }
    })
    return step.held || !step.value ? step.value : this.ifStillOwned(step.value)
  }

  /**
   * Ends an execution, and returns the outcome that it was ended with. Null: the row was no longer this worker's; what it
   * found is kept as a line of history.
   */
  async settle(started: Started, ended: Outcome): Promise<Outcome | null> {
    const { delivery, owner, late, definition } = started
    const name = ended.kind === 'retrying' ? 'retry' : 'finish'
    const { value } = await this.steps.take(name, delivery, groupOrder(delivery.message), async (sql) => {
      const outcome = await this.bounded(sql, started, ended)
      const verdict = verdictOn(outcome, definition.options)
      const again = verdict.kind === 'again'
      const moved = again ? await this.runAgain(sql, started, outcome, verdict.error) : await this.finish(sql, started, outcome)
      if (!moved && outcome.kind !== 'revoked') await this.recordLate(sql, owner.taskId, outcome)
      const fate: Fate = again ? 'requeue' : verdict.message
      const next = moved && !again ? await following(sql, this.follower, delivery.message, outcome, definition.options) : []
      return { value: moved ? outcome : null, fate: late && moved ? fate : 'keep', following: next }
    })
    return value
  }

  /** Whether the end of this execution is one move and nothing more. */
  endsPlainly({ delivery: { message }, recorded }: Started, outcome: Outcome): outcome is Success {
    const succeeded = outcome.kind === 'succeeded' && outcome.added === undefined
    return succeeded && recorded && !leavesNoRow(message) && !this.follower.isAwaited(message)
  }

  /** `settle` of many plain ends. Null: nothing was written, and each is to be settled by itself. */
  async settleAll(all: readonly Succeeded[]): Promise<readonly (Outcome | null)[] | null> {
    return (await this.succeedTogether(all))?.map(({ value }) => value) ?? null
  }

  /** Writes what a running task says of itself. */
  async update({ owner }: Started, { state, meta }: TaskUpdate): Promise<void> {
    if (state !== undefined && (STATUSES.some((own) => own === state) || state === '' || state.length > 50)) {
      throw new UsageError(`state: expected a word of the task's own of 1 to 50 characters, got: ${state}`)
    }
    const text = meta === undefined ? null : encodeJson(meta, 'meta')
    await this.database.write((sql) => updateOwned(sql, owner, state ?? null, text, this.now()))
  }

  /** PENDING → FAILURE for a task that cannot be run here, written down first if nobody has. */
  async fail(delivery: Delivery, error: ErrorRecord): Promise<boolean> {
    return this.endUnstarted(delivery, { status: 'FAILURE', error }, (sql, end) => failUnstarted(sql, delivery.message.id, error, end))
  }

  /** PENDING → REVOKED. */
  async revoke(delivery: Delivery, reason: string): Promise<boolean> {
    return this.endUnstarted(delivery, revokedFor(reason), (sql, end) => revokeUnstarted(sql, delivery.message.id, reason, end))
  }

  /** Puts a late-ack message back for another worker at once. Its row, written first if there is none, notes that. */
  async giveBack(started: Started): Promise<void> {
    const { delivery, owner, recorded } = started
    await this.steps.take('return', delivery, '', async (sql) => {
      const now = this.now()
      if (!recorded) await this.beginnings.record(sql, started, now)
      if (await moveToPending(sql, owner, now)) await recordAttempt(sql, owner.taskId, 'given-back', this.workerId, shutDown, now)
      return { value: null, fate: 'requeue' }
    })
  }

  /** Puts back a message that came too late to be begun. */
  async decline(delivery: Delivery): Promise<void> {
    const { id } = delivery.message
    await this.steps.take('return', delivery, '', async (sql) => {
      const counts = delivery.deliveries !== null && (await findTask(sql, id))?.finishedAt === null // else the row counts, once it starts
      if (counts) await recordAttempt(sql, id, 'given-back', this.workerId, shutDown, this.now())
      return { value: null, fate: 'requeue' }
    })
  }

  /**
   * An early-ack execution, if it is this worker's although its message was no longer: somebody may have been given it, and
   * have run it, while this worker was silent. The row tells, and holding its lease keeps everybody else from it.
   */
  private async ifStillOwned(started: Started): Promise<Started | null> {
    const { owner, recorded } = started
    const owns = recorded && (await this.database.write((sql) => extendLease(sql, owner, this.now() + this.settings.leaseMs)))
    return owns ? started : null
  }

  /** The last time that a task may reject its message, it fails by that. */
  private async bounded(sql: Sql, { owner }: Started, outcome: Outcome): Promise<Outcome> {
    if (outcome.kind !== 'rejected' || !outcome.requeue) return outcome
    const times = 1 + (await rejectionsOf(sql, owner.taskId))
    if (times < this.settings.maxDeliveries) return outcome
    const { error } = outcome
    return { ...outcome, requeue: false, error: { ...error, message: `${error.message} (rejected ${times} times)` } }
  }

  /** A late-ack row goes back with its message; an early-ack one waits to be sent again. */
  private async runAgain(sql: Sql, started: Started, outcome: Outcome, error: ErrorRecord): Promise<boolean> {
    const { owner, late, delivery } = started
    const { message } = delivery
    const { queue, priority, retries } = message
    const now = this.now()
    if (!started.recorded) await this.beginnings.record(sql, started, now)
    const waiting = { retries, eta: now, error, stored: this.redaction.stored(message, false), queue, priority }
    const moved = late ? await moveToPending(sql, owner, now) : await moveToRetry(sql, owner, waiting, now)
    if (moved) await recordAttempt(sql, owner.taskId, outcome.kind === 'rejected' ? 'rejected' : 'lost', this.workerId, error, now)
    return moved
  }

  private ending({ definition, delivery, owner }: Started): Ending {
    const { message } = delivery
    return {
      message,
      owner,
      end: this.end(message, definition),
      options: definition.options,
      stored: (changed) => this.redaction.stored(changed, false),
    }
  }

  /** Null: the general way decides what becomes of it. */
  private async beginTogether(sql: Sql, all: readonly Beginning[]): Promise<JointDecision<Started | null>[]> {
    const begun = await this.startWithin(sql, all)
    return begun.map((started) => ({ value: started, fate: started && !started.late ? 'ack' : 'keep' }))
  }

  private async succeedAll(sql: Sql, all: readonly Succeeded[]): Promise<JointDecision<Outcome | null>[]> {
    const moved = await moveAllToSuccess(
      sql,
      all.map(({ started, outcome }) => {
        const { message, owner, end } = this.ending(started)
        return { owner, result: resultOf(message, outcome), end }
      }),
    )
    for (const { started, outcome } of all.filter((_, i) => !moved[i])) await this.recordLate(sql, started.owner.taskId, outcome)
    return all.map(({ started, outcome }, i) => ({ value: moved[i] ? outcome : null, fate: moved[i] && started.late ? 'ack' : 'keep' }))
  }

  /** Without a row only a retry leaves something behind, and a failure whose task wants it kept. */
  private async finish(sql: Sql, started: Started, outcome: Outcome): Promise<boolean> {
    const { definition, recorded } = started
    if (recorded) return moveToEnd(sql, this.ending(started), outcome)
    const keepsErrors = definition.options.storeErrorsEvenIfIgnored && 'error' in outcome && outcome.error !== null
    if (outcome.kind !== 'retrying' && !keepsErrors) return true
    const now = this.now()
    await this.beginnings.record(sql, started, now)
    return moveToEnd(sql, this.ending(started), outcome)
  }

  private async recordLate(sql: Sql, taskId: string, outcome: Outcome): Promise<void> {
    const result = outcome.kind === 'succeeded' ? (outcome.text ?? 'null') : outcome.kind
    const error = ('error' in outcome ? outcome.error : null) ?? { type: 'LateResult', message: result, traceback: null }
    await recordAttempt(sql, taskId, 'late-result', this.workerId, error, this.now())
  }

  private async endUnstarted(delivery: Delivery, how: TaskEnd, move: (sql: Sql, end: End) => Promise<boolean>): Promise<boolean> {
    const { message } = delivery
    const { value } = await this.steps.take('refuse', delivery, groupOrder(message) ?? '', async (sql) => {
      const end = this.end(message)
      let moved = await move(sql, end)
      if (!moved) {
        const stored = this.redaction.stored(message, true)
        const beginning = pending(message, { publishedAt: message.submittedAt, eta: message.eta, now: end.at })
        moved = (await recordTaskIfNew(sql, message, stored, beginning)) && (await move(sql, end))
      }
      // a broker elsewhere may keep what failed as a dead letter
      const fate: Fate = delivery.fault !== undefined || (moved && how.status === 'FAILURE') ? 'reject' : 'ack'
      return { value: moved, fate, following: moved ? await this.follower.follow(sql, message, how) : [] }
    })
    return value
  }

  /** The publish call decides how long the result is kept, else the task, else the app. */
  private end({ options }: TaskMessage, definition?: TaskDefinition): End {
    const at = this.now()
    const given = [options.resultExpires, definition?.options.resultExpires, this.settings.resultExpires].find(
      (seconds) => seconds !== undefined,
    )
    const seconds = given ?? null
    return { at, resultExpiresAt: seconds === null ? null : at + seconds * 1000 }
  }
}
