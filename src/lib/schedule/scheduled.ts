import type { Database } from '../database/database.js'
import type { Sql } from '../database/sql.js'
import type { Redaction } from '../ledger/arguments.js'
import { recordAttempt } from '../ledger/attempts.js'
import { claimDue, releaseWithError, resumeClaims } from '../ledger/due.js'
import { moveToScheduledSent, revokeScheduled } from '../ledger/ends.js'
import { replaceMember } from '../ledger/groups.js'
import { messageOf, type TaskRow, UnsendableRowError } from '../ledger/row.js'
import { type Follower, revokedFor, type Unsent } from '../publish/follow.js'
import type { Publisher } from '../publish/publisher.js'
import { UnavailableError } from '../task/errors.js'
import type { Failpoint } from '../task/failpoint.js'
import { newTaskId } from '../task/id.js'
import { isPart, type TaskMessage } from '../task/message.js'
import { errorRecord } from '../task/outcome.js'
import { awayAmong, expired, type Sent, type Taken } from './sent.js'

/**
 * Sends scheduled tasks.
 *
 * A scheduled task is claimed, and the commit that makes its row SCHEDULED_SENT also holds a new task of the claimed id: its
 * message or, where the broker lives elsewhere, its row. So a claim that is still there was never sent, and any later sender
 * may take it up under the same id.
 */
export class Scheduled {
  /** What was recorded here and found the broker away. Until its lease has passed nobody else publishes it. */
  private unsent: { readonly messages: readonly TaskMessage[]; readonly until: number } = { messages: [], until: 0 }

  constructor(
    private readonly database: Database,
    private readonly publisher: Publisher,
    private readonly follower: Follower,
    private readonly redaction: Redaction,
    private readonly settings: {
      readonly leaseMs: number
      /** Seconds; null: for ever. */
      readonly resultExpires: number | null
    },
    private readonly report: (error: unknown) => void,
    private readonly now: () => number,
    private readonly failpoint: Failpoint,
  ) {}

  /** What is due, in eta order. A row that could not be sent after `retryBefore` is left alone. */
  async send(limit: number, retryBefore: number): Promise<Taken> {
    const ids = Array.from({ length: limit }, () => newTaskId(this.now()))
    await this.failpoint('sender:before')
    if (!this.publisher.joins) return this.sendClaimed(await this.database.write((sql) => claimDue(sql, ids, this.now(), retryBefore)))
    // claim, send and mark are one commit: no crash leaves a claim behind
    const taken = await this.database.write(async (sql) => {
      const rows = await claimDue(sql, ids, this.now(), retryBefore)
      const sent: Sent[] = []
      for (const row of rows) sent.push(...(await this.sendRow(sql, row)).sent)
      return { sent, found: rows.length, away: null }
    })
    await this.failpoint('sender:recorded')
    return taken
  }

  /** What a sender claimed at or before `cutoff` that died before it sent. */
  async resume(limit: number, cutoff: number): Promise<Taken> {
    return this.sendClaimed(await this.database.write((sql) => resumeClaims(sql, cutoff, this.now(), limit)))
  }

  /** What was recorded here a moment ago, and found the broker away. */
  async sendUnsent(): Promise<Taken> {
    const { messages, until } = this.unsent
    this.unsent = { messages: [], until: 0 }
    const away = this.now() < until ? await this.publish(messages, until) : null
    return { sent: [], found: 0, away }
  }

  private async sendClaimed(rows: readonly TaskRow[]): Promise<Taken> {
    if (rows.length === 0) return { sent: [], found: 0, away: null }
    await this.failpoint('sender:claimed')
    const until = this.now() + this.settings.leaseMs
    const recording = rows.map((row) => this.database.write((sql) => this.sendRow(sql, row), this.isAlone(row) ? null : ''))
    const recorded = await Promise.allSettled(recording)
    await this.failpoint('sender:recorded')
    const done = recorded.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
    const sent = done.flatMap((one) => one.sent)
    await this.follower.send(done.flatMap(({ following }) => following))
    const away = await this.publish(
      done.flatMap(({ message }) => message ?? []),
      until,
    )
    for (const one of recorded) if (one.status === 'rejected') throw one.reason // its claim stays
    return { sent, found: rows.length, away }
  }

  /** Whether no other row changes with it. */
  private isAlone({ groupId, expires }: TaskRow): boolean {
    return groupId === null && expires === null && !this.publisher.joins
  }

  /** Tasks that are recorded: what is not sent now, a later pass publishes. */
  private async publish(messages: readonly TaskMessage[], until: number): Promise<UnavailableError | null> {
    if (messages.length === 0 || this.publisher.joins) return null
    try {
      const settled = await this.publisher.publishAllRecorded(messages)
      const failures = settled.map((one) => (one.status === 'rejected' ? one.reason : null))
      this.unsent = { messages: messages.filter((_, i) => failures[i] instanceof UnavailableError), until }
      for (const failure of failures) if (failure !== null && !(failure instanceof UnavailableError)) this.report(failure)
      return awayAmong(failures)
    } catch (error) {
      this.report(error)
      return null
    }
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
      const following = await this.follower.followRow(sql, row, revokedFor('expired'))
      return { sent: [expired(taskId, task, eta)], message: null, following }
    }
    const message = sendable(row, now)
    if (message instanceof UnsendableRowError) {
      if (!(await releaseWithError(sql, taskId, scheduledId ?? '', message.name, message.message))) return NOTHING_DONE
      await recordAttempt(sql, taskId, 'send-failed', null, errorRecord(message), now)
      const sent: Sent = { taskId, task, eta, newTaskId: null, outcome: 'failed', error: message.message }
      return { sent: [sent], message: null, following: [] }
    }
    const stored = this.redaction.stored(message, true)
    if (!(await moveToScheduledSent(sql, taskId, message.id, stored, end))) return NOTHING_DONE
    await this.publisher.recordWithin(sql, message)
    if (message.groupId !== null) await replaceMember(sql, message.groupId, message.groupIndex ?? 0, message.id)
    return { sent: [{ taskId, task, eta, newTaskId: message.id, outcome: 'sent', error: null }], message, following: [] }
  }
}

/** What became of a row, if anything, the task that is sent for it, and what others are to be handed for it. */
interface SentRow {
  readonly sent: readonly Sent[]
  readonly message: TaskMessage | null
  readonly following: readonly Unsent[]
}

const NOTHING_DONE: SentRow = { sent: [], message: null, following: [] }

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
