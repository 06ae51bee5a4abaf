import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Broker, Delivery } from '../broker/broker.js'
import type { Database } from '../database/database.js'
import type { Redaction } from '../ledger/arguments.js'
import { extendLease } from '../ledger/moves.js'
import { beat, removeSilentWorkers, removeWorker, type WorkerIdentity } from '../ledger/workers.js'
import type { TaskDefinition } from '../task/definition.js'
import { BusyError } from '../task/errors.js'
import type { ErrorRecord, Outcome } from '../task/outcome.js'
import type { WorkerEvent } from './events.js'
import { Life, type Started } from './life.js'
import { runTask } from './run-task.js'

export interface WorkerSettings {
  readonly queues: readonly string[]
  /** How many tasks run at one time. */
  readonly concurrency: number
  /** How long this worker may be silent; it renews at a third of it. */
  readonly leaseMs: number
  readonly maxDeliveries: number
  readonly forceJson: boolean
  /** Seconds; null: for ever. */
  readonly resultExpires: number | null
}

/** How long an idle worker waits before it looks again, whatever its broker told it. */
const IDLE_WAIT_MS = 1000

/** How long, and how often, a finished task's row is tried to be written while others hold the database. */
const SETTLE_TRIES = 10

/** A worker row that has been silent this long is of no use to anybody. */
const SILENT_WORKER_MS = 24 * 3_600_000

/** Takes deliveries through their lives, several at one time, until it is stopped. */
export class Worker {
  readonly identity: WorkerIdentity
  private readonly life: Life
  private readonly running = new Map<Delivery, { started: Started | null; done: Promise<void> }>()
  private readonly stopping = new AbortController()
  private readonly cold = new AbortController()
  private slotFreed: (() => void) | null = null

  constructor(
    private readonly database: Database,
    private readonly broker: Broker,
    redaction: Redaction,
    private readonly tasks: ReadonlyMap<string, TaskDefinition>,
    private readonly settings: WorkerSettings,
    private readonly emit: (event: WorkerEvent) => void,
    private readonly report: (error: unknown) => void,
    private readonly now: () => number,
    private readonly random: () => number,
  ) {
    this.identity = { workerId: randomUUID(), host: hostname(), pid: process.pid, queues: settings.queues }
    this.life = new Life(database, broker, redaction, this.identity.workerId, settings, now)
  }

  /** Works until `stop`. Resolves when nothing of this worker's is under way any more. */
  async run(): Promise<void> {
    await this.beat()
    await this.database.write((sql) => removeSilentWorkers(sql, this.now() - SILENT_WORKER_MS))
    const ended = new AbortController()
    const beating = this.keepBeating(ended.signal)
    try {
      await this.takeDeliveries()
      await Promise.race([Promise.all([...this.running.values()].map(({ done }) => done)), aborted(this.cold.signal)])
    } finally {
      ended.abort()
      await beating // a beat after giving back would hold again what was given back
      if (this.cold.signal.aborted) await this.giveBack()
      await this.database.write((sql) => removeWorker(sql, this.identity.workerId))
    }
  }

  /** Takes nothing new and finishes what runs. */
  stop(): void {
    this.stopping.abort()
    this.slotFreed?.() // it may be waiting for a slot
  }

  /** Ends without waiting: late-ack messages go back to their queue at once, the rest is left to its lease. */
  stopNow(): void {
    this.stop()
    this.cold.abort()
  }

  private async takeDeliveries(): Promise<void> {
    const { queues, concurrency, leaseMs } = this.settings
    while (!this.stopping.signal.aborted) {
      const free = concurrency - this.running.size
      if (free === 0) {
        await new Promise<void>((resolve) => {
          this.slotFreed = resolve
        })
        continue
      }
      try {
        const deliveries = await this.broker.receive(queues, free, leaseMs)
        if (this.stopping.signal.aborted) await Promise.all(deliveries.map((delivery) => this.broker.reject(delivery, { requeue: true })))
        else for (const delivery of deliveries) this.take(delivery)
        if (deliveries.length === 0) await this.broker.wait(queues, IDLE_WAIT_MS, this.stopping.signal)
        else if (free === deliveries.length) await new Promise((resolve) => setImmediate(resolve))
      } catch (error) {
        this.report(error)
        await sleep(IDLE_WAIT_MS, undefined, { signal: this.stopping.signal }).catch(() => {}) // rejects only when aborted
      }
    }
  }

  private take(delivery: Delivery): void {
    const done = this.live(delivery)
      .catch(this.report)
      .finally(() => {
        this.running.delete(delivery)
        this.slotFreed?.()
      })
    this.running.set(delivery, { started: null, done })
  }

  /** One delivery from receipt to end. */
  private async live(delivery: Delivery): Promise<void> {
    const { message, deliveries } = delivery
    if (message.expires !== null && message.expires <= this.now()) return this.revoke(delivery, 'expired')
    const definition = this.tasks.get(message.task)
    if (!definition) return this.refuse(delivery, unknownTask(message.task, this.tasks))
    if (deliveries > this.settings.maxDeliveries) return this.refuse(delivery, poisoned(deliveries))
    const started = await this.life.start(definition, delivery)
    if (started) await this.execute(started)
  }

  private async execute(started: Started): Promise<void> {
    const { definition, delivery, late } = started
    const entry = this.running.get(delivery)
    if (entry) entry.started = started
    if (this.cold.signal.aborted) {
      if (late) await this.life.giveBack(started)
      return
    }
    this.emit({ ...named(delivery), kind: 'started' })
    const startedAt = performance.now()
    const outcome = await runTask(definition, delivery, this.settings.forceJson, this.now, this.random)
    if (await this.settle(started, outcome)) this.emit({ ...named(delivery), ...told(outcome, performance.now() - startedAt) })
  }

  private async revoke(delivery: Delivery, reason: string): Promise<void> {
    if (await this.life.revoke(delivery, reason)) this.emit({ ...named(delivery), kind: 'revoked', reason })
  }

  private async refuse(delivery: Delivery, error: ErrorRecord): Promise<void> {
    if (await this.life.fail(delivery, error)) this.emit({ ...named(delivery), kind: 'failed', error, expected: false })
  }

  /** A result is not dropped because the database is busy; while it is being tried the lease is kept. */
  private async settle(started: Started, outcome: Outcome): Promise<boolean> {
    for (let tries = 1; ; tries++) {
      try {
        return await this.life.settle(started, outcome)
      } catch (error) {
        if (!(error instanceof BusyError) || tries === SETTLE_TRIES) throw error
      }
    }
  }

  /** A delivery that is just being started sees by itself that the worker ends, and is waited for. */
  private async giveBack(): Promise<void> {
    for (const { started, done } of [...this.running.values()]) {
      if (started?.late) await this.life.giveBack(started)
      else if (!started) await done
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
  }

  private async keepBeating(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await sleep(this.settings.leaseMs / 3, undefined, { signal }).catch(() => {}) // rejects only when aborted
      if (!signal.aborted) await this.beat().catch(this.report)
    }
  }
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })

const named = ({ message: { id, task, retries } }: Delivery) => ({ id, task, retries })

const poisoned = (deliveries: number): ErrorRecord => ({
  type: 'WorkerLostError',
  message: `delivered ${deliveries - 1} times, and no worker lived to finish it`,
  traceback: null,
})

function unknownTask(task: string, tasks: ReadonlyMap<string, TaskDefinition>): ErrorRecord {
  const known = [...tasks.keys()].join(', ') || 'none'
  return { type: 'NotRegistered', message: `no task named '${task}' is registered; this worker knows ${known}`, traceback: null }
}

function told(outcome: Outcome, runMs: number) {
  switch (outcome.kind) {
    case 'succeeded':
      return { kind: 'succeeded', runMs } as const
    case 'failed':
      return { kind: 'failed', error: outcome.error, expected: outcome.expected } as const
    case 'retrying':
      return { kind: 'retried', error: outcome.error, eta: new Date(outcome.eta) } as const
  }
}
