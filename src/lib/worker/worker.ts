import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Broker } from '../broker/broker.js'
import type { Database } from '../database/database.js'
import type { Redaction } from '../ledger/arguments.js'
import { findEnded } from '../ledger/lost.js'
import { extendLease } from '../ledger/moves.js'
import { beat, removeSilentWorkers, removeWorker, type WorkerIdentity } from '../ledger/workers.js'
import type { Follower } from '../publish/follow.js'
import { TaskRevokedError } from '../task/ending.js'
import { type Failpoint, NO_FAILPOINT } from '../task/failpoint.js'
import type { WorkerEvent } from './events.js'
import { Executions, TERMINATED } from './executions.js'
import { Intake, type KnownTasks, type Received } from './intake.js'
import { Life } from './life.js'
import type { Pool } from './pool/pool.js'
import { rescueLost } from './rescue.js'

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

/** How long an idle worker waits before it looks again, whatever its broker told it. */
const IDLE_WAIT_MS = 1000

/** How often a worker asks whether what it runs is still to run. */
const WATCH_MS = 500

/** A worker row that has been silent this long is of no use to anybody. */
const SILENT_WORKER_MS = 24 * 3_600_000

/** Takes deliveries through their lives, several at one time, until it is stopped. */
export class Worker {
  readonly identity: WorkerIdentity
  private readonly life: Life
  private readonly intake: Intake
  private readonly executions: Executions
  private readonly stopping = new AbortController()
  private readonly cold = new AbortController()
  /** When the lease was last renewed. A worker that has been silent for a whole lease may have been taken for lost. */
  private renewedAt = 0

  constructor(
    private readonly database: Database,
    private readonly broker: Broker,
    redaction: Redaction,
    private readonly follower: Follower,
    tasks: KnownTasks,
    private readonly pool: Pool,
    private readonly settings: WorkerSettings,
    private readonly emit: (event: WorkerEvent) => void,
    private readonly report: (error: unknown) => void,
    private readonly now: () => number,
    private readonly failpoint: Failpoint = NO_FAILPOINT,
  ) {
    this.identity = { workerId: randomUUID(), host: hostname(), pid: process.pid, queues: settings.queues }
    this.life = new Life(database, broker, redaction, follower, this.identity.workerId, settings, now, failpoint)
    this.intake = new Intake(broker, this.life, tasks, settings, this.stopping.signal, now, failpoint)
    const { maxDeliveries } = settings
    this.executions = new Executions(database, this.life, tasks, pool, maxDeliveries, this.cold.signal, emit, report, now, failpoint)
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
      await Promise.race([
        this.executions.slots.ended(),
        aborted(this.cold.signal),
        sleep(this.settings.shutdownMs, undefined, { ref: false }),
      ])
    } finally {
      ended.abort()
      await Promise.all(loops) // a beat after giving back would hold again what was given back
      if (this.executions.slots.all.length > 0) {
        this.cold.abort()
        await this.executions.abandon()
      }
      await this.pool.close()
      await this.database.write((sql) => removeWorker(sql, this.identity.workerId))
    }
  }

  /** Takes nothing new and finishes what runs, for as long as the shutdown timeout allows. */
  stop(): void {
    this.stopping.abort()
    this.executions.slots.wake() // it may be waiting for a slot
  }

  /** Ends without waiting: late-ack messages go back to their queue at once, early-ack tasks are settled by `onWorkerLost`. */
  stopNow(): void {
    this.stop()
    this.cold.abort()
  }

  private async takeDeliveries(): Promise<void> {
    const { queues, concurrency } = this.settings
    while (!this.stopping.signal.aborted) {
      const free = concurrency - this.executions.slots.size
      if (free <= 0) {
        await this.executions.slots.fewer()
        continue
      }
      try {
        const received = await this.receive(free)
        const tooLate = this.stopping.signal.aborted ? received.filter(({ started }) => !started) : []
        this.executions.take(received.filter((one) => !tooLate.includes(one)))
        await Promise.all(tooLate.map(({ delivery }) => this.life.decline(delivery)))
        if (received.length === 0) await this.broker.wait(queues, IDLE_WAIT_MS, this.stopping.signal)
        else if (free === received.length) await new Promise((resolve) => setImmediate(resolve))
      } catch (error) {
        this.report(error)
        await sleep(IDLE_WAIT_MS, undefined, { signal: this.stopping.signal }).catch(() => {}) // rejects only when aborted
      }
    }
  }

  /** A worker that cannot renew its lease takes nothing. */
  private async receive(limit: number): Promise<readonly Received[]> {
    if (this.now() - this.renewedAt >= this.settings.leaseMs) await this.beat()
    return this.intake.receive(limit)
  }

  /** Stops what an operator has revoked, or somebody else has taken over. */
  private async watch(): Promise<void> {
    const running = this.executions.slots.all.filter((entry) => entry.started?.recorded && !entry.stop.aborted)
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
    const started = this.executions.slots.all.flatMap((entry) => (entry.started ? [entry.started] : []))
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
