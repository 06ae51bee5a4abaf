import { setTimeout as sleep } from 'node:timers/promises'
import type { Address } from '../celery/address.js'
import { type Decoded, isOfTask } from '../celery/events.js'
import { Subscription } from '../celery/subscription.js'
import type { Database } from '../database/database.js'
import type { Redaction } from '../ledger/arguments.js'
import type { Follower } from '../publish/follow.js'
import { UnavailableError } from '../task/errors.js'
import { EventRequests } from './event-requests.js'
import { Lives, writeLives } from './lives.js'
import { NextSteps } from './next-steps.js'
import { isAway, Recorder } from './recorder.js'
import { beatSession, beginSession } from './session.js'

/** How long events are gathered for one commit. */
const GATHER_MS = 250

/** How long a broker that was lost is left alone, at first and at most. */
const BACKOFF_MS = { first: 1000, most: 30_000 }

export interface WatchSettings {
  readonly enableEvents: boolean
  readonly leaseMs: number
  /** Seconds a result is kept; null: for ever. */
  readonly resultExpires: number | null
}

/** What a watch tells of itself. */
export type WatchEvent =
  | { readonly kind: 'watching'; readonly broker: string; readonly queue: string }
  | { readonly kind: 'disconnected'; readonly broker: string; readonly error: Error; readonly retryMs: number }
  | { readonly kind: 'online' | 'offline'; readonly workerId: string }
  | { readonly kind: 'unreadable'; readonly events: number }
  /** Workers were to be told to send events, and there is nobody yet to be told. */
  | { readonly kind: 'unheard' }

/** What a watch has done, counted. */
export interface WatchCounts {
  readonly events: number
  /** Events that were not as Celery writes them. */
  readonly unreadable: number
  /** Tasks that were written down. */
  readonly recorded: number
}

/** Writes down what the workers of a Celery cluster tell of their tasks, and sends what follows of ours. */
export class Watcher {
  readonly watched: string
  private readonly lives: Lives
  private readonly recorder: Recorder
  private readonly requests: EventRequests
  private readonly stopping = new AbortController()
  private readonly counted = { events: 0, unreadable: 0 }
  private subscription: Subscription | null = null
  private renewedAt = 0

  constructor(
    private readonly address: Address,
    private readonly database: Database,
    redaction: Redaction,
    follower: Follower,
    private readonly settings: WatchSettings,
    private readonly emit: (event: WatchEvent) => void,
    private readonly report: (error: unknown) => void,
    private readonly now: () => number,
  ) {
    this.watched = `celery ${address.shown}`
    this.lives = new Lives(settings.leaseMs)
    const { resultExpires } = settings
    const terms = { redaction, follower, steps: new NextSteps(follower), resultExpires, leaseMsOf: this.lives.leaseMsOf }
    this.recorder = new Recorder(database, follower, this.watched, terms, report, now)
    this.requests = new EventRequests(now, () => emit({ kind: 'unheard' }), report)
  }

  get counts(): WatchCounts {
    return { ...this.counted, recorded: this.recorder.recorded }
  }

  /**
   * Watches until stopped.
   *
   * @throws {UnavailableError} when the broker cannot be reached at first; later it is tried again and again
   */
  async run(): Promise<void> {
    const { signal } = this.stopping
    try {
      for (let first = true; !signal.aborted; first = false) await this.watch(first ? await this.subscribe() : await this.subscribeAgain())
    } finally {
      await this.end()
    }
  }

  /** Takes nothing more, and lets `run` resolve once what came is written. */
  stop(): void {
    this.stopping.abort()
  }

  /** Writes what comes until the broker is lost or the watch is stopped. */
  private async watch(subscription: Subscription | null): Promise<void> {
    if (!subscription) return
    const over = new AbortController()
    const ended = subscription.ended.then((error) => {
      over.abort()
      return error
    })
    const signal = AbortSignal.any([over.signal, this.stopping.signal])
    this.requests.askSoon()
    this.emit({ kind: 'watching', broker: this.address.shown, queue: subscription.queue })
    for (let begun = false; !signal.aborted; ) {
      begun ||= await this.begin()
      if (begun && (await this.recorder.flush(true))) subscription.proceed()
      if (begun) await this.renew()
      if (this.settings.enableEvents) this.requests.askIfDue(subscription)
      await sleep(GATHER_MS, undefined, { signal }).catch(() => {})
    }
    if (this.stopping.signal.aborted) return
    const error = (await ended) ?? new Error('the connection was closed')
    this.emit({ kind: 'disconnected', broker: this.address.shown, error, retryMs: BACKOFF_MS.first })
    await subscription.close()
  }

  private async subscribe(): Promise<Subscription> {
    this.subscription = await Subscription.open(this.address, (decoded) => this.receive(decoded))
    return this.subscription
  }

  /** Null: it was stopped before the broker was back. */
  private async subscribeAgain(): Promise<Subscription | null> {
    const { signal } = this.stopping
    for (let wait = BACKOFF_MS.first; ; wait = Math.min(wait * 2, BACKOFF_MS.most)) {
      await sleep(wait, undefined, { signal }).catch(() => {})
      if (signal.aborted) return null
      try {
        return await this.subscribe()
      } catch (error) {
        if (!(error instanceof UnavailableError)) throw error
        await this.recorder.flush(false)
        const retryMs = Math.min(wait * 2, BACKOFF_MS.most)
        this.emit({ kind: 'disconnected', broker: this.address.shown, error, retryMs })
      }
    }
  }

  private receive({ events, unreadable }: Decoded): void {
    this.counted.events += events.length + unreadable
    this.counted.unreadable += unreadable
    if (unreadable > 0) this.emit({ kind: 'unreadable', events: unreadable })
    for (const event of events) {
      this.lives.hear(event, this.now())
      if (isOfTask(event)) this.recorder.add(event)
      else if (event.kind !== 'heartbeat') this.emit({ kind: event.kind, workerId: event.host })
      if (event.kind === 'online') this.requests.askSoon()
    }
  }

  /** False: the ledger could not be written to, and it is to be tried again. */
  private async begin(): Promise<boolean> {
    const now = this.now()
    try {
      await this.database.write((sql) => beginSession(sql, this.watched, now + this.settings.leaseMs, now))
      return true
    } catch (error) {
      if (!isAway(error)) throw error
      this.report(error)
      return false
    }
  }

  /** Notes at once who came and went, and now and then who is there. */
  private async renew(): Promise<void> {
    const now = this.now()
    const { leaseMs } = this.settings
    const renewing = now - this.renewedAt >= leaseMs / 3
    if (!renewing && !this.lives.anyChanged) return
    const lives = this.lives.take(renewing)
    try {
      await this.database.write(async (sql) => {
        await writeLives(sql, lives, this.lives.leaseMsOf, now)
        await beatSession(sql, this.watched, now + leaseMs, now)
      })
      if (renewing) this.renewedAt = now
    } catch (error) {
      this.report(error)
      this.lives.putBack(lives)
    }
  }

  private async end(): Promise<void> {
    const { subscription } = this
    if (!subscription) return
    await subscription.close()
    await this.recorder.flush(false)
    await this.database.write((sql) => beatSession(sql, this.watched, this.now(), this.now())).catch(this.report)
  }
}
