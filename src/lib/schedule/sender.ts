import { setTimeout as sleep } from 'node:timers/promises'
import type { Database } from '../database/database.js'
import type { Redaction } from '../ledger/arguments.js'
import { recordAttempt } from '../ledger/attempts.js'
import { anythingToSend, claimRetries, claimUnpublished, nextEta, noteSendFailure, releaseUnsent } from '../ledger/due.js'
import { messageOf, type TaskRow } from '../ledger/row.js'
import type { Follower } from '../publish/follow.js'
import type { Publisher } from '../publish/publisher.js'
import { UnavailableError } from '../task/errors.js'
import { type Failpoint, NO_FAILPOINT } from '../task/failpoint.js'
import type { TaskMessage } from '../task/message.js'
import { errorRecord } from '../task/outcome.js'
import { Deadlines } from './deadlines.js'
import { Scheduled } from './scheduled.js'
import { awayAmong, expired, type Sent, type Taken } from './sent.js'

/** Finds and sends at most `limit` rows of one kind. */
type Step = (limit: number) => Promise<Taken>

export interface SenderSettings {
  /** Rows claimed in one commit. */
  readonly batch: number
  /** A claim older than this, or an unpublished row, belongs to a process that died. */
  readonly leaseMs: number
  /** Seconds; null: for ever. */
  readonly resultExpires: number | null
}

/** How long a running sender leaves a row alone that could not be sent, or that somebody is about to send. */
const RETRY_FAILED_MS = 60_000

/** Pauses of a running sender between two tries to reach a broker, or a ledger, that is away. */
const FIRST_PAUSE_MS = 1000
const LONGEST_PAUSE_MS = 10_000

/**
 * Publishes what is due: scheduled tasks, retries, and tasks whose broker took no message when they were recorded; and tells Celery's
 * clients what they have not been told.
 *
 * A broker that is away is no failure of a row: nothing is written of it, and a pass ends with the first it is noticed by.
 */
export class Sender {
  private readonly deadlines: Deadlines
  private readonly scheduled: Scheduled

  constructor(
    private readonly database: Database,
    private readonly publisher: Publisher,
    private readonly follower: Follower,
    redaction: Redaction,
    private readonly settings: SenderSettings,
    private readonly report: (error: unknown) => void,
    private readonly now: () => number,
    failpoint: Failpoint = NO_FAILPOINT,
  ) {
    this.deadlines = new Deadlines(database, follower, settings, now, failpoint)
    this.scheduled = new Scheduled(database, publisher, follower, redaction, settings, report, now, failpoint)
  }

  /**
   * One pass over what is due now, at most `limit` rows, in eta order within each batch; also what could not be sent a moment ago.
   *
   * @param leftMs how old a claim or an unpublished row is that was left by a process that died. Default: a lease.
   */
  async sendDue(limit = Number.POSITIVE_INFINITY, each: (sent: Sent) => void = () => {}, leftMs = this.settings.leaseMs): Promise<Sent[]> {
    const passStart = this.now()
    const all: Sent[] = []
    await this.tellAndFail()
    for (const step of await this.steps(passStart, passStart - 1, leftMs)) {
      let found = 1
      while (found > 0 && all.length < limit) {
        const taken = await step(Math.min(this.settings.batch, limit - all.length))
        for (const one of taken.sent) each(one)
        all.push(...taken.sent)
        if (taken.away) return this.givenUp(all, taken)
        found = taken.found
      }
    }
    return all
  }

  /** Sends what is due, then sleeps until the next eta, again and again. Resolves once aborted and idle. */
  async run(signal: AbortSignal): Promise<void> {
    let more = true // what is left from before
    let pauseMs = 0
    while (!signal.aborted) {
      try {
        if (!more) await this.untilDue(signal)
        if (!signal.aborted) more = await this.sendShares()
        pauseMs = 0
      } catch (error) {
        this.report(error)
        more = true
        pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 2 || FIRST_PAUSE_MS)
        await sleep(pauseMs, undefined, { signal }).catch(() => {}) // rejects only when aborted
      }
    }
  }

  /** Unpublished rows and dead claims have no eta to wait for: they are looked for as often as a lease is renewed. */
  private async untilDue(signal: AbortSignal): Promise<void> {
    const nextSweep = this.now() + this.settings.leaseMs / 3
    while (!signal.aborted) {
      const now = this.now()
      const eta = earlier(await nextEta(this.database, now - RETRY_FAILED_MS), await this.deadlines.next())
      if ((eta !== null && eta < now) || now >= nextSweep) return
      const { pollMs } = this.database
      const wait = Math.min(pollMs, eta === null ? pollMs : eta - now + 1)
      await sleep(wait, undefined, { signal }).catch(() => {}) // rejects only when aborted
    }
  }

  /**
   * A batch of each kind, so that none of them waits until nothing is left of another. Answers whether there may be more.
   *
   * @throws {UnavailableError} when the broker is away
   */
  private async sendShares(): Promise<boolean> {
    const { batch, leaseMs } = this.settings
    const passStart = this.now()
    await this.tellAndFail()
    let more = false
    for (const step of await this.steps(passStart, passStart - RETRY_FAILED_MS, leaseMs)) {
      const { sent, found, away } = await step(batch)
      if (away) throw away
      if (found >= batch && sent.some(({ outcome }) => outcome !== 'failed')) more = true
    }
    return more
  }

  private async tellAndFail(): Promise<void> {
    await this.deadlines.failChords()
    await this.follower.tellUntold(this.settings.batch)
  }

  /** @param retryBefore rows that could not be sent, or were claimed, after this instant are left alone */
  private async steps(passStart: number, retryBefore: number, leftMs: number): Promise<readonly Step[]> {
    const cutoff = passStart - leftMs
    const always: readonly Step[] = [(limit) => this.revokeExpired(limit), () => this.scheduled.sendUnsent()]
    if (!(await anythingToSend(this.database, cutoff, this.now(), retryBefore))) return always
    return [
      ...always,
      (limit) => this.scheduled.resume(limit, cutoff),
      (limit) => this.scheduled.send(limit, retryBefore),
      async (limit) => this.sendAgain(await this.database.write((sql) => claimRetries(sql, this.now(), retryBefore, limit))),
      async (limit) => this.sendAgain(await this.database.write((sql) => claimUnpublished(sql, cutoff, this.now(), retryBefore, limit))),
    ]
  }

  private async revokeExpired(limit: number): Promise<Taken> {
    const sent = (await this.deadlines.revokeExpired(limit)).map(({ taskId, task, eta }) => expired(taskId, task, eta))
    return { sent, found: sent.length, away: null }
  }

  /** Retries that are due, and recorded tasks that no broker confirmed: the same message under the same id. */
  private async sendAgain(rows: readonly TaskRow[]): Promise<Taken> {
    const failures = await this.publishAll(rows)
    const away = awayAmong(failures.values())
    if (failures.size > 0) await this.noteFailures(failures)
    const sent = rows.map(({ taskId, task, eta }): Sent => {
      if (!failures.has(taskId)) return { taskId, task, eta, newTaskId: taskId, outcome: 'sent', error: null }
      return { taskId, task, eta, newTaskId: null, outcome: 'failed', error: errorRecord(failures.get(taskId)).message }
    })
    return { sent, found: rows.length, away }
  }

  /** Answers what kept the messages of some rows from being sent, by task id. */
  private async publishAll(rows: readonly TaskRow[]): Promise<Map<string, unknown>> {
    const failures = new Map<string, unknown>()
    const messages: TaskMessage[] = []
    for (const row of rows) {
      try {
        messages.push({ ...messageOf(row), eta: null })
      } catch (error) {
        failures.set(row.taskId, error)
      }
    }
    const settled = messages.length === 0 ? [] : await this.publishClaimed(messages)
    for (const [i, { id }] of messages.entries()) {
      const one = settled[i]
      if (one?.status === 'rejected') failures.set(id, one.reason)
    }
    return failures
  }

  private async publishClaimed(messages: readonly TaskMessage[]): Promise<PromiseSettledResult<void>[]> {
    try {
      return await this.publisher.publishAllRecorded(messages)
    } catch (error) {
      const ids = messages.map(({ id }) => id)
      await this.database.write((sql) => releaseUnsent(sql, ids)).catch(() => {}) // a ledger that is away: they are free in a minute
      throw error
    }
  }

  private async noteFailures(failures: ReadonlyMap<string, unknown>): Promise<void> {
    const kept = [...failures].filter(([, failure]) => failure instanceof UnavailableError).map(([taskId]) => taskId)
    await this.database.write(async (sql) => {
      if (kept.length > 0) await releaseUnsent(sql, kept)
      for (const [taskId, failure] of failures) {
        if (failure instanceof UnavailableError) continue
        const error = errorRecord(failure)
        await noteSendFailure(sql, taskId, error.type, error.message, this.now())
        await recordAttempt(sql, taskId, 'send-failed', null, error, this.now())
      }
    })
  }

  /** Rows that were not sent say so themselves; those that are recorded as sent do not. */
  private givenUp(all: Sent[], { sent, away }: Taken): Sent[] {
    if (!sent.some(({ outcome }) => outcome === 'failed')) this.report(away)
    return all
  }
}

const earlier = (a: number | null, b: number | null): number | null => (a === null || b === null ? (a ?? b) : Math.min(a, b))
