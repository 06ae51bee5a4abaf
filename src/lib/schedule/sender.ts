import { setTimeout as sleep } from 'node:timers/promises'
import type { Database } from '../database/database.js'
import type { Sql } from '../database/sql.js'
import type { Redaction } from '../ledger/arguments.js'
import { recordAttempt } from '../ledger/attempts.js'
import { claimDue, findDueRetries, findUnpublished, nextEta, noteSendFailure, releaseWithError, resumeClaims } from '../ledger/due.js'
import { moveToScheduledSent, revokeScheduled } from '../ledger/moves.js'
import { messageOf, type TaskRow, UnsendableRowError } from '../ledger/row.js'
import type { Publisher } from '../publish/publisher.js'
import { newTaskId } from '../task/id.js'
import type { TaskMessage } from '../task/message.js'
import { errorRecord } from '../task/outcome.js'

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

/** How often an idle sender looks for rows that another process scheduled. */
const POLL_MS = 25

/**
 * Publishes what is due: scheduled tasks, retries, and tasks whose broker took no message when they were recorded.
 *
 * A scheduled task is claimed, and a new task of the claimed id is recorded in the commit that makes the row
 * SCHEDULED_SENT. So a claim that is still there was never sent, and any later sender may take it up under the same id.
 */
export class Sender {
  constructor(
    private readonly database: Database,
    private readonly publisher: Publisher,
    private readonly redaction: Redaction,
    private readonly settings: SenderSettings,
    private readonly report: (error: unknown) => void,
    private readonly now: () => number,
  ) {}

  /**
   * One pass over what is due now, at most `limit` rows, in eta order within each batch.
   *
   * @param retryFailed also rows that could not be sent a moment ago
   */
  async sendDue(limit = Number.POSITIVE_INFINITY, retryFailed = true, each: (sent: Sent) => void = () => {}): Promise<Sent[]> {
    const passStart = this.now()
    const retryBefore = retryFailed ? passStart - 1 : passStart - RETRY_FAILED_MS
    const all: Sent[] = []
    for (const step of [this.resumeStep(passStart), this.scheduledStep(retryBefore), this.waitingStep(passStart, retryBefore)]) {
      while (all.length < limit) {
        const sent = await step(Math.min(this.settings.batch, limit - all.length))
        if (sent.length === 0) break
        for (const one of sent) each(one)
        all.push(...sent)
      }
    }
    return all
  }

  /** Sends what is due, then sleeps until the next eta, again and again. Resolves once aborted and idle. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.untilDue(signal)
        if (!signal.aborted) await this.sendDue(this.settings.batch, false)
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
      const eta = await nextEta(this.database, now - RETRY_FAILED_MS)
      if ((eta !== null && eta < now) || now >= nextSweep) return
      const wait = Math.min(POLL_MS, eta === null ? POLL_MS : eta - now + 1)
      await sleep(wait, undefined, { signal }).catch(() => {}) // rejects only when aborted
    }
  }

  private resumeStep(passStart: number) {
    return async (limit: number) =>
      this.sendClaimed(await this.database.write((sql) => resumeClaims(sql, passStart - this.settings.leaseMs, this.now(), limit)))
  }

  private scheduledStep(retryBefore: number) {
    return async (limit: number): Promise<Sent[]> => {
      const ids = Array.from({ length: limit }, () => newTaskId(this.now()))
      if (!this.publisher.joins) return this.sendClaimed(await this.database.write((sql) => claimDue(sql, ids, this.now(), retryBefore)))
      // claim, send and mark are one commit: no crash leaves a claim behind
      return this.database.write(async (sql) => {
        const sent: Sent[] = []
        for (const row of await claimDue(sql, ids, this.now(), retryBefore)) sent.push(...(await this.sendRow(sql, row)))
        return sent
      })
    }
  }

  private async sendClaimed(rows: readonly TaskRow[]): Promise<Sent[]> {
    const sent: Sent[] = []
    for (const row of rows) {
      const [one] = await this.database.write((sql) => this.sendRow(sql, row))
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
  private async sendRow(sql: Sql, row: TaskRow): Promise<Sent[]> {
    const { taskId, task, eta, scheduledId } = row
    const now = this.now()
    const end = { at: now, resultExpiresAt: this.settings.resultExpires === null ? null : now + this.settings.resultExpires * 1000 }
    if (row.expires !== null && row.expires.getTime() <= now) {
      if (!(await revokeScheduled(sql, taskId, 'expired', end))) return []
      return [{ taskId, task, eta, newTaskId: null, outcome: 'expired', error: null }]
    }
    const message = sendable(row, now)
    if (message instanceof UnsendableRowError) {
      if (!(await releaseWithError(sql, taskId, scheduledId ?? '', message.name, message.message))) return []
      await recordAttempt(sql, taskId, 'send-failed', null, errorRecord(message), now)
      return [{ taskId, task, eta, newTaskId: null, outcome: 'failed', error: message.message }]
    }
    const stored = this.redaction.stored(message, true)
    if (!(await moveToScheduledSent(sql, taskId, message.id, stored, end))) return []
    await this.publisher.recordWithin(sql, message)
    return [{ taskId, task, eta, newTaskId: message.id, outcome: 'sent', error: null }]
  }

  /** Retries that are due, and recorded tasks that no broker confirmed: the same message under the same id. */
  private waitingStep(passStart: number, retryBefore: number) {
    return async (limit: number): Promise<Sent[]> => {
      const due = await findDueRetries(this.database, this.now(), retryBefore, limit)
      const rows = due.length > 0 ? due : await findUnpublished(this.database, passStart - this.settings.leaseMs, retryBefore, limit)
      return Promise.all(rows.map((row) => this.sendAgain(row)))
    }
  }

  private async sendAgain(row: TaskRow): Promise<Sent> {
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

function sendable(row: TaskRow, nowMs: number): TaskMessage | UnsendableRowError {
  try {
    return newMessage(row, nowMs)
  } catch (error) {
    if (error instanceof UnsendableRowError) return error
    throw error
  }
}

/** The task that is sent for a claimed scheduled row: all it was published with, under the claimed id, without its eta. */
function newMessage(row: TaskRow, nowMs: number): TaskMessage {
  const message = messageOf(row)
  const id = row.scheduledId ?? ''
  return { ...message, id, eta: null, rootId: message.rootId === message.id ? id : message.rootId, submittedAt: nowMs }
}
