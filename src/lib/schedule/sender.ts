import { setTimeout as sleep } from 'node:timers/promises'
import type { Database } from '../database/database.js'
import type { Sql } from '../database/sql.js'
import type { Redaction } from '../ledger/arguments.js'
import { recordAttempt } from '../ledger/attempts.js'
import { claimDue, findDueRetries, findUnpublished, nextEta, noteSendFailure, releaseWithError, resumeClaims } from '../ledger/due.js'
import { replaceMember } from '../ledger/groups.js'
import { moveToScheduledSent, revokeScheduled } from '../ledger/moves.js'
import { messageOf, type TaskRow, UnsendableRowError } from '../ledger/row.js'
import { type Follower, revokedFor, type Unsent } from '../publish/follow.js'
import type { Publisher } from '../publish/publisher.js'
import { type Failpoint, NO_FAILPOINT } from '../task/failpoint.js'
import { newTaskId } from '../task/id.js'
import { isPart, type TaskMessage } from '../task/message.js'
import { errorRecord } from '../task/outcome.js'
import { Deadlines } from './deadlines.js'

/** What became of one row that was due. */
export interface Sent {
  readonly taskId: string
  readonly task: string
  /** The task that runs: a new one for a scheduled task, the same for a retry. Null when none was sent. */
  readonly newTaskId: string | null
  readonly eta: Date | null
  readonly outcome: 'sent' | 'expired' | 'failed'
  /** Why it could not be sent. */
  readonly error: string | null
}

/** Finds and sends at most `limit` rows of one kind. */
type Step = (limit: number) => Promise<Sent[]>

export interface SenderSettings {
  /** Rows claimed in one commit. */
  readonly batch: number
  /** A claim older than this, or an unpublished row, belongs to a process that died. */
  readonly leaseMs: number
  /** Seconds; null: for ever. */
  readonly resultExpires: number | null
}

/** How long a row that could not be sent is left alone by a running sender. */
const RETRY_FAILED_MS = 60_000

/**
 * Publishes what is due: scheduled tasks, retries, and tasks whose broker took no message when they were recorded; and tells Celery's
 * clients what they have not been told.
 *
 * A scheduled task is claimed, and the commit that makes its row SCHEDULED_SENT also holds a new task of the claimed id: its
 * message or, where the broker lives elsewhere, its row. So a claim that is still there was never sent, and any later sender
 * may take it up under the same id.
 */
export class Sender {
  private readonly deadlines: Deadlines

  constructor(
    private readonly database: Database,
    private readonly publisher: Publisher,
    private readonly follower: Follower,
    private readonly redaction: Redaction,
    private readonly settings: SenderSettings,
    private readonly report: (error: unknown) => void,
    private readonly now: () => number,
    private readonly failpoint: Failpoint = NO_FAILPOINT,
  ) {
    this.deadlines = new Deadlines(database, follower, settings, now, failpoint)
  }

  /**
   * One pass over what is due now, at most `limit` rows, in eta order within each batch; also what could not be sent a moment ago.
   *
   * @param leftMs how old a claim or an unpublished row is that was left by a process that died. Default: a lease.
   */
  async sendDue(limit = Number.POSITIVE_INFINITY, each: (sent: Sent) => void = () => {}, leftMs = this.settings.leaseMs): Promise<Sent[]> {
    const passStart = this.now()
    const all: Sent[] = []
    await this.deadlines.failChords()
    await this.follower.tellUntold(this.settings.batch)
    for (const step of this.steps(passStart, passStart - 1, leftMs)) all.push(...(await this.take(step, limit - all.length, each)))
    return all
  }

  /** Sends what is due, then sleeps until the next eta, again and again. Resolves once aborted and idle. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.untilDue(signal)
        if (!signal.aborted) await this.sendShares()
      } catch (error) {
        this.report(error)
        await sleep(1000, undefined, { signal }).catch(() => {}) // rejects only when aborted
      }
    }
  }

  /** Unpublished rows and dead claims have no eta to wait for: they are looked for once a lease. */
  private async untilDue(signal: AbortSignal): Promise<void> {
    const nextSweep = this.now() + this.settings.leaseMs
    while (!signal.aborted) {
      const now = this.now()
      const eta = earlier(await nextEta(this.database, now - RETRY_FAILED_MS), await this.deadlines.next())
      if ((eta !== null && eta < now) || now >= nextSweep) return
      const { pollMs } = this.database
      const wait = Math.min(pollMs, eta === null ? pollMs : eta - now + 1)
      await sleep(wait, undefined, { signal }).catch(() => {}) // rejects only when aborted
    }
  }

  /** A batch of each kind, so that none of them waits until nothing is left of another. */
  private async sendShares(): Promise<void> {
    const passStart = this.now()
    await this.deadlines.failChords()
    await this.follower.tellUntold(this.settings.batch)
    for (const step of this.steps(passStart, passStart - RETRY_FAILED_MS, this.settings.leaseMs)) await this.take(step, this.settings.batch)
  }

  /** @param retryBefore rows that could not be sent after this instant are left alone */
  private steps(passStart: number, retryBefore: number, leftMs: number): readonly Step[] {
    const cutoff = passStart - leftMs
    return [
      async (limit) => this.sendClaimed(await this.database.write((sql) => resumeClaims(sql, cutoff, this.now(), limit))),
      async (limit) => (await this.deadlines.revokeExpired(limit)).map(({ taskId, task, eta }) => expired(taskId, task, eta)),
      this.scheduledStep(retryBefore),
      async (limit) => this.sendAgain(await findDueRetries(this.database, this.now(), retryBefore, limit)),
      async (limit) => this.sendAgain(await findUnpublished(this.database, cutoff, retryBefore, limit)),
    ]
  }

  /** Has a step go on until it finds nothing, or has come to `limit`. */
  private async take(step: Step, limit: number, each: (sent: Sent) => void = () => {}): Promise<Sent[]> {
    const all: Sent[] = []
    while (all.length < limit) {
      const sent = await step(Math.min(this.settings.batch, limit - all.length))
      if (sent.length === 0) break
      for (const one of sent) each(one)
      all.push(...sent)
    }
    return all
  }

  private scheduledStep(retryBefore: number): Step {
    return async (limit) => {
      const ids = Array.from({ length: limit }, () => newTaskId(this.now()))
      await this.failpoint('sender:before')
      if (!this.publisher.joins) return this.sendClaimed(await this.database.write((sql) => claimDue(sql, ids, this.now(), retryBefore)))
      // claim, send and mark are one commit: no crash leaves a claim behind
      const all = await this.database.write(async (sql) => {
        const sent: Sent[] = []
        for (const row of await claimDue(sql, ids, this.now(), retryBefore)) sent.push(...(await this.sendRow(sql, row)).sent)
        return sent
      })
      await this.failpoint('sender:recorded')
      return all
    }
  }

  private async sendClaimed(rows: readonly TaskRow[]): Promise<Sent[]> {
    const sent: Sent[] = []
    if (rows.length > 0) await this.failpoint('sender:claimed')
    for (const row of rows) {
      const {
        sent: [one],
        following,
      } = await this.database.write((sql) => this.sendRow(sql, row))
      await this.failpoint('sender:recorded')
      await this.follower.send(following)
      if (!one) continue
      sent.push(one)
      if (one.outcome === 'sent' && !this.publisher.joins) {
        await this.publisher.publishRecorded(newMessage(row, this.now())).catch(this.report) // recorded: a later pass publishes it
      }
    }
    return sent
  }

  /**
   * Records the new task and marks the row, in the commit of `sql`; a row that cannot be sent is released, and the rest goes on.
   * Nothing is done for a row whose claim was released, sent or revoked by somebody else meanwhile.
   */
  private async sendRow(sql: Sql, row: TaskRow): Promise<SentRow> {
    const { taskId, task, eta, scheduledId } = row
    const now = this.now()
    const end = { at: now, resultExpiresAt: this.settings.resultExpires === null ? null : now + this.settings.resultExpires * 1000 }
    if (row.expires !== null && row.expires.getTime() <= now) {
      if (!(await revokeScheduled(sql, taskId, 'expired', end))) return NOTHING_DONE
      return { sent: [expired(taskId, task, eta)], following: await this.follower.followRow(sql, row, revokedFor('expired')) }
    }
    const message = sendable(row, now)
    if (message instanceof UnsendableRowError) {
      if (!(await releaseWithError(sql, taskId, scheduledId ?? '', message.name, message.message))) return NOTHING_DONE
      await recordAttempt(sql, taskId, 'send-failed', null, errorRecord(message), now)
      return { sent: [{ taskId, task, eta, newTaskId: null, outcome: 'failed', error: message.message }], following: [] }
    }
    const stored = this.redaction.stored(message, true)
    if (!(await moveToScheduledSent(sql, taskId, message.id, stored, end))) return NOTHING_DONE
    await this.publisher.recordWithin(sql, message)
    if (message.groupId !== null) await replaceMember(sql, message.groupId, message.groupIndex ?? 0, message.id)
    return { sent: [{ taskId, task, eta, newTaskId: message.id, outcome: 'sent', error: null }], following: [] }
  }

  /** Retries that are due, and recorded tasks that no broker confirmed: the same message under the same id. */
  private sendAgain(rows: readonly TaskRow[]): Promise<Sent[]> {
    return Promise.all(rows.map((row) => this.sendOneAgain(row)))
  }

  private async sendOneAgain(row: TaskRow): Promise<Sent> {
    const { taskId, task, eta } = row
    try {
      await this.publisher.publishRecorded({ ...messageOf(row), eta: null })
      return { taskId, task, eta, newTaskId: taskId, outcome: 'sent', error: null }
    } catch (thrown) {
      const error = errorRecord(thrown)
      await this.database.write(async (sql) => {
        await noteSendFailure(sql, taskId, error.type, error.message, this.now())
        await recordAttempt(sql, taskId, 'send-failed', null, error, this.now())
      })
      return { taskId, task, eta, newTaskId: null, outcome: 'failed', error: error.message }
    }
  }
}

/** What became of a row, if anything, and what others are to be handed for it. */
interface SentRow {
  readonly sent: readonly Sent[]
  readonly following: readonly Unsent[]
}

const NOTHING_DONE: SentRow = { sent: [], following: [] }

const expired = (taskId: string, task: string, eta: Date | null): Sent => ({
  taskId,
  task,
  eta,
  newTaskId: null,
  outcome: 'expired',
  error: null,
})

const earlier = (a: number | null, b: number | null): number | null => (a === null || b === null ? (a ?? b) : Math.min(a, b))

function sendable(row: TaskRow, nowMs: number): TaskMessage | UnsendableRowError {
  try {
    return newMessage(row, nowMs)
  } catch (error) {
    if (error instanceof UnsendableRowError) return error
    throw error
  }
}

/**
 * The task that is sent for a claimed scheduled row: all it was published with, under the claimed id, without its eta. A workflow
 * keeps its root, which others of it know already, and Celery's clients wait under the id they know.
 */
function newMessage(row: TaskRow, nowMs: number): TaskMessage {
  const message = messageOf(row)
  const id = row.scheduledId ?? ''
  const rootId = message.rootId === message.id && !isPart(message) ? id : message.rootId
  const { celery } = message.options
  const options = celery ? { ...message.options, celery: { ...celery, id: celery.id ?? message.id } } : message.options
  return { ...message, id, eta: null, rootId, options, submittedAt: nowMs }
}
