import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Broker, Delivery } from '../broker/broker.js'
import type { Database } from '../database/database.js'
import type { Redaction } from '../ledger/arguments.js'
import { givenBackOf } from '../ledger/attempts.js'
import { findEnded } from '../ledger/lost.js'
import { extendLease } from '../ledger/moves.js'
import { beat, removeSilentWorkers, removeWorker, type WorkerIdentity } from '../ledger/workers.js'
import type { Follower } from '../publish/follow.js'
import type { TaskDefinition } from '../task/definition.js'
import { TaskRevokedError } from '../task/ending.js'
import { BusyError } from '../task/errors.js'
import { type Failpoint, NO_FAILPOINT } from '../task/failpoint.js'
import type { ErrorRecord, Outcome } from '../task/outcome.js'
import { eventOf, type WorkerEvent } from './events.js'
import { Life, type Started } from './life.js'
import type { Pool } from './pool/pool.js'
import { poisoned, unknownTask } from './reasons.js'
import { rescueLost } from './rescue.js'
import { endShutDown } from './shutdown.js'

export interface WorkerSettings {
  readonly queues: readonly string[]
  /** How many tasks run at one time. */
  readonly concurrency: number
  /** How long this worker may be silent; it renews at a third of it. */
  readonly leaseMs: number
  readonly maxDeliveries: number
  /** Seconds; null: for ever. */
  readonly resultExpires: number | null
  /** How long running tasks may take to end once the worker is told to stop. */
  readonly shutdownMs: number
}

/** The tasks a worker runs, by name. It may grow while the worker works. */
export type KnownTasks = Pick<ReadonlyMap<string, TaskDefinition>, 'get' | 'keys'>

/** How long an idle worker waits before it looks again, whatever its broker told it. */
const IDLE_WAIT_MS = 1000

/** How often a worker asks whether what it runs is still to run. */
const WATCH_MS = 500

/** How often a finished task's row is tried to be written while others hold the database. */
const SETTLE_TRIES = 10

/** Why a body is stopped whose row an operator has revoked. */
const TERMINATED = 'terminated'

/** A worker row that has been silent this long is of no use to anybody. */
const SILENT_WORKER_MS = 24 * 3_600_000

/** A delivery in this worker's hands. */
interface Running {
  started: Started | null
  /** Given up by a shutdown: how its body ends, if it ever does, no longer counts. */
  abandoned: boolean
  readonly stop: AbortController
  readonly done: Promise<void>
}

/** Takes deliveries through their lives, several at one time, until it is stopped. */
export class Worker {
  readonly identity: WorkerIdentity
  private readonly life: Life
  private readonly running = new Map<Delivery, Running>()
  private readonly stopping = new AbortController()
  private readonly cold = new AbortController()
  private slotFreed: (() => void) | null = null
  /** When the lease was last renewed. A worker that has been silent for a whole lease may have been taken for lost. */
  private renewedAt = 0

  constructor(
    private readonly database: Database,
    private readonly broker: Broker,
    redaction: Redaction,
    private readonly follower: Follower,
    private readonly tasks: KnownTasks,
    private readonly pool: Pool,
    private readonly settings: WorkerSettings,
    private readonly emit: (event: WorkerEvent) => void,
    private readonly report: (error: unknown) => void,
    private readonly now: () => number,
    private readonly failpoint: Failpoint = NO_FAILPOINT,
  ) {
    this.identity = { workerId: randomUUID(), host: hostname(), pid: process.pid, queues: settings.queues }
    this.life = new Life(database, broker, redaction, follower, this.identity.workerId, settings, now, failpoint)
  }

  /** Works until `stop`. Resolves when nothing of this worker's is under way any more. */
  async run(): Promise<void> {
    await this.pool.start()
    await this.beat()
    await this.database.write((sql) => removeSilentWorkers(sql, this.now() - SILENT_WORKER_MS))
    const ended = new AbortController()
    const { leaseMs, resultExpires } = this.settings
    const loops = [
      this.repeat(() => this.watch(), WATCH_MS, ended.signal),
      // in this order, so that a worker that was paused does not take its own work for lost
      this.repeat(
        () => this.beat().then(() => rescueLost(this.database, this.follower, resultExpires, this.emit, this.now(), this.failpoint)),
        leaseMs / 3,
        ended.signal,
      ),
    ]
    try {
      await this.takeDeliveries()
      await this.broker.leave(this.settings.queues).catch(this.report)
      const finished = Promise.all([...this.running.values()].map(({ done }) => done))
      await Promise.race([finished, aborted(this.cold.signal), sleep(this.settings.shutdownMs, undefined, { ref: false })])
    } finally {
      ended.abort()
      await Promise.all(loops) // a beat after giving back would hold again what was given back
      if (this.running.size > 0) await this.abandon()
      await this.pool.close()
      await this.database.write((sql) => removeWorker(sql, this.identity.workerId))
    }
  }

  /** Takes nothing new and finishes what runs, for as long as the shutdown timeout allows. */
  stop(): void {
    this.stopping.abort()
    this.slotFreed?.() // it may be waiting for a slot
  }

  /** Ends without waiting: late-ack messages go back to their queue at once, early-ack tasks are settled by `onWorkerLost`. */
  stopNow(): void {
    this.stop()
    this.cold.abort()
  }

  private async takeDeliveries(): Promise<void> {
    const { queues, concurrency } = this.settings
    while (!this.stopping.signal.aborted) {
      const free = concurrency - this.running.size
      if (free === 0) {
        await new Promise<void>((resolve) => {
          this.slotFreed = resolve
        })
        continue
      }
      try {
        const deliveries = await this.receive(free)
        if (this.stopping.signal.aborted) await Promise.all(deliveries.map((delivery) => this.life.decline(delivery)))
        else for (const delivery of deliveries) this.take(delivery)
        if (deliveries.length === 0) await this.broker.wait(queues, IDLE_WAIT_MS, this.stopping.signal)
        else if (free === deliveries.length) await new Promise((resolve) => setImmediate(resolve))
      } catch (error) {
        this.report(error)
        await sleep(IDLE_WAIT_MS, undefined, { signal: this.stopping.signal }).catch(() => {}) // rejects only when aborted
      }
    }
  }

  /** A worker that cannot renew its lease takes nothing. */
  private async receive(limit: number): Promise<Delivery[]> {
    const { queues, leaseMs } = this.settings
    if (this.now() - this.renewedAt >= leaseMs) await this.beat()
    await this.failpoint('claim:before')
    const deliveries = await this.broker.receive(queues, limit, leaseMs)
    if (deliveries.length > 0) await this.failpoint('claim:received')
    return deliveries
  }

  private take(delivery: Delivery): void {
    const stop = new AbortController()
    const done = this.live(delivery, stop.signal)
      .catch(this.report)
      .finally(() => {
        this.running.delete(delivery)
        this.slotFreed?.()
      })
    this.running.set(delivery, { started: null, abandoned: false, stop, done })
  }

  /** One delivery from receipt to end. */
  private async live(delivery: Delivery, stop: AbortSignal): Promise<void> {
    const { message, deliveries, fault } = delivery
    if (fault !== undefined) return this.refuse(delivery, { type: 'InvalidTaskError', message: fault, traceback: null })
    if (message.expires !== null && message.expires <= this.now()) return this.revoke(delivery, 'expired')
    const definition = this.tasks.get(message.task)
    if (!definition) return this.refuse(delivery, unknownTask(message.task, this.tasks.keys()))
    const poison = deliveries === null ? null : await this.poisonOf(message.id, deliveries)
    if (poison) return this.refuse(delivery, poison)
    const started = await this.life.start(definition, delivery)
    if (!started) return
    const counted = deliveries === null ? await this.poisonOf(message.id, started.owner.deliveries) : null // the row has counted
    if (counted) return this.fail(started, counted)
    const entry = this.running.get(delivery)
    if (entry) entry.started = started
    await this.execute(started, stop, entry)
  }

  /** Without the times that a worker which was shut down gave the message back: those say nothing of its task. */
  private async poisonOf(taskId: string, deliveries: number): Promise<ErrorRecord | null> {
    const { maxDeliveries } = this.settings
    if (deliveries <= maxDeliveries) return null
    const counted = deliveries - (await givenBackOf(this.database, taskId))
    return counted > maxDeliveries ? poisoned(counted) : null
  }

  private async execute(started: Started, stop: AbortSignal, entry: Running | undefined): Promise<void> {
    const { definition, delivery } = started
    if (this.cold.signal.aborted) return this.giveUp(started)
    this.emit({ ...named(delivery), kind: 'started' })
    await this.failpoint('body:before')
    const startedAt = performance.now()
    const outcome = await this.pool.run({ definition, delivery, stop, update: (update) => this.life.update(started, update) })
    await this.failpoint('body:after')
    if (entry?.abandoned) return
    const settled = await this.settle(started, outcome)
    const terminated = outcome.kind === 'revoked' && outcome.reason === TERMINATED // the operator's word ended the row
    if (settled || terminated) this.emit(eventOf(named(delivery), definition.options, settled ?? outcome, performance.now() - startedAt))
  }

  private async revoke(delivery: Delivery, reason: string): Promise<void> {
    if (await this.life.revoke(delivery, reason)) this.emit({ ...named(delivery), kind: 'revoked', reason })
  }

  private async refuse(delivery: Delivery, error: ErrorRecord): Promise<void> {
    if (await this.life.fail(delivery, error)) this.emit({ ...named(delivery), kind: 'failed', error, expected: false })
  }

  /** Ends an execution before its body runs. */
  private async fail(started: Started, error: ErrorRecord): Promise<void> {
    const settled = await this.settle(started, { kind: 'failed', error, expected: false })
    if (settled) this.emit({ ...named(started.delivery), kind: 'failed', error, expected: false })
  }

  /** A result is not dropped because the database is busy; while it is being tried the lease is kept. */
  private async settle(started: Started, outcome: Outcome): Promise<Outcome | null> {
    for (let tries = 1; ; tries++) {
      try {
        return await this.life.settle(started, outcome)
      } catch (error) {
        if (!(error instanceof BusyError) || tries === SETTLE_TRIES) throw error
      }
    }
  }

  /** A delivery that is just being started sees by itself that the worker ends, and is waited for. */
  private async abandon(): Promise<void> {
    this.cold.abort()
    for (const entry of [...this.running.values()]) {
      entry.abandoned = true
      if (entry.started)
        await this.giveUp(entry.started).catch(this.report) // its lease runs out; the others are still to be given up
      else await entry.done
      entry.stop.abort(new TaskRevokedError('its worker was shut down'))
    }
  }

  private async giveUp(started: Started): Promise<void> {
    if (started.late) return this.life.giveBack(started)
    const { definition, delivery } = started
    const outcome = await endShutDown(this.life, started, this.now())
    if (outcome) this.emit(eventOf(named(delivery), definition.options, outcome, 0))
  }

  /** Stops what an operator has revoked, or somebody else has taken over. */
  private async watch(): Promise<void> {
    const running = [...this.running.values()].filter((entry) => entry.started?.recorded && !entry.stop.signal.aborted)
    if (running.length === 0) return
    const ids = running.map(({ started }) => started?.owner.taskId ?? '')
    for (const { taskId, status } of await findEnded(this.database, this.identity.workerId, ids)) {
      const reason = status === 'REVOKED' ? TERMINATED : `taken over: it is ${status}`
      for (const { started, stop } of running) if (started?.owner.taskId === taskId) stop.abort(new TaskRevokedError(reason))
    }
  }

  private async beat(): Promise<void> {
    const now = this.now()
    const leaseUntil = now + this.settings.leaseMs
    const started = [...this.running.values()].flatMap((entry) => (entry.started ? [entry.started] : []))
    const late = started.filter((one) => one.late).map(({ delivery }) => delivery)
    await this.database.write(async (sql) => {
      await beat(sql, this.identity, leaseUntil, now)
      for (const { owner, recorded } of started) if (recorded) await extendLease(sql, owner, leaseUntil)
      if (late.length > 0) await this.broker.within?.(sql).extend(late, leaseUntil)
    })
    if (late.length > 0 && !this.broker.within) await this.broker.extend(late, leaseUntil)
    this.renewedAt = now
  }

  private async repeat(step: () => Promise<unknown>, everyMs: number, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await sleep(everyMs, undefined, { signal }).catch(() => {}) // rejects only when aborted
      if (!signal.aborted) await step().catch(this.report)
    }
  }
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })

const named = ({ message: { id, task, retries } }: Delivery) => ({ id, task, retries })
