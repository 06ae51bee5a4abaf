import type { Delivery } from '../broker/broker.js'
import { MOST_AT_ONCE } from '../database/commits.js'
import type { Database } from '../database/database.js'
import { givenBackOf } from '../ledger/attempts.js'
import { TaskRevokedError } from '../task/ending.js'
import { BusyError } from '../task/errors.js'
import type { Failpoint } from '../task/failpoint.js'
import type { ErrorRecord, Outcome } from '../task/outcome.js'
import type { Beginning } from './beginnings.js'
import { eventOf, type WorkerEvent } from './events.js'
import type { KnownTasks, Received } from './intake.js'
import type { Life, Started, Succeeded } from './life.js'
import type { Pool } from './pool/pool.js'
import { poisoned, unknownTask } from './reasons.js'
import { endShutDown } from './shutdown.js'
import { endOf, type Running, Slots } from './slots.js'

/** How often a finished task's row is tried to be written while others hold the database. */
const SETTLE_TRIES = 10

/** Why a body is stopped whose row an operator has revoked. */
export const TERMINATED = 'terminated'

type Begun = Beginning & { readonly entry: Running }

/** An execution whose body has ended. */
interface Ending {
  readonly started: Started
  readonly delivery: Delivery
  readonly entry: Running
  readonly outcome: Outcome
  readonly runMs: number
}

type PlainEnding = Ending & Succeeded

/**
 * What a worker has in hand, from receipt to end. Plain tasks, of which nothing is asked but to run once, start together and end
 * together, in few statements; every other one by itself.
 */
export class Executions {
  readonly slots = new Slots()
  private readonly endings: PlainEnding[] = []
  private settling: Promise<void> | null = null

  /** @param cold aborted when nothing new may begin, and what begins is to be given up */
  constructor(
    private readonly database: Database,
    private readonly life: Life,
    private readonly tasks: KnownTasks,
    private readonly pool: Pool,
    private readonly maxDeliveries: number,
    private readonly cold: AbortSignal,
    private readonly emit: (event: WorkerEvent) => void,
    private readonly report: (error: unknown) => void,
    private readonly now: () => number,
    private readonly failpoint: Failpoint,
  ) {}

  take(received: readonly Received[]): void {
    const plain: Begun[] = []
    for (const { delivery, plain: definition, started } of received) {
      const entry = this.slots.take(delivery)
      if (started) entry.done = this.hold(entry, this.execute(started, entry))
      else if (definition) plain.push({ definition, delivery, entry })
      else entry.done = this.hold(entry, this.live(entry))
    }
    for (const some of chunksOf(plain)) {
      const begun = this.begin(some)
      for (const { entry } of some) entry.done = begun
    }
  }

  /** A delivery that is just being started sees by itself that the worker ends, and is waited for. */
  async abandon(): Promise<void> {
    for (const entry of this.slots.all) {
      entry.abandoned = true
      if (entry.started)
        await this.giveUp(entry.started).catch(this.report) // its lease runs out; the others are still to be given up
      else await endOf(entry)
      entry.stop.abort(new TaskRevokedError('its worker was shut down'))
    }
  }

  /** Starts all that it can at one go. Each of the others goes its own way, and fails by itself if it must. */
  private async begin(plain: readonly Begun[]): Promise<void> {
    try {
      const started = await this.life.startAll(plain)
      plain.forEach(({ entry }, i) => {
        const one = started[i]
        entry.done = this.hold(entry, one ? this.execute(one, entry) : this.live(entry))
      })
    } catch (error) {
      this.letGo(plain, error)
    }
  }

  /** A slot of the worker's, for as long as a delivery needs it. */
  private hold(entry: Running, life: Promise<void>): Promise<void> {
    return life.catch(this.report).then(() => {
      if (!entry.ending) this.slots.release(entry)
    })
  }

  private letGo(all: readonly { readonly entry: Running }[], error: unknown): void {
    this.report(error)
    for (const { entry } of all) this.slots.release(entry)
  }

  /** One delivery from receipt to end. */
  private async live(entry: Running): Promise<void> {
    const { delivery } = entry
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
    if (counted) return this.settle({ started, delivery, entry, outcome: { kind: 'failed', error: counted, expected: false }, runMs: 0 })
    await this.execute(started, entry)
  }

  /** Without the times that a worker which was shut down gave the message back: those say nothing of its task. */
  private async poisonOf(taskId: string, deliveries: number): Promise<ErrorRecord | null> {
    if (deliveries <= this.maxDeliveries) return null
    const counted = deliveries - (await givenBackOf(this.database, taskId))
    return counted > this.maxDeliveries ? poisoned(counted) : null
  }

  private async execute(started: Started, entry: Running): Promise<void> {
    entry.started = started
    const { definition, delivery } = started
    if (this.cold.aborted) return this.giveUp(started)
    this.emit({ ...named(delivery), kind: 'started' })
    const before = this.failpoint('body:before')
    if (before instanceof Promise) await before // an await takes longer than a short task
    const from = performance.now()
    const outcome = await this.pool.run({ definition, delivery, stop: entry.stop, update: (update) => this.life.update(started, update) })
    const after = this.failpoint('body:after')
    if (after instanceof Promise) await after
    if (entry.abandoned) return
    const runMs = performance.now() - from
    if (!this.life.endsPlainly(started, outcome)) return this.settle({ started, delivery, entry, outcome, runMs })
    entry.ending = true
    this.endings.push({ started, delivery, entry, outcome, runMs })
    this.settling ??= this.settlePlain()
    entry.done = this.settling
  }

  /** Those whose bodies end in one turn end together. */
  private async settlePlain(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    const all = this.endings.splice(0)
    this.settling = null
    this.slots.free(all.map(({ entry }) => entry))
    await Promise.all(chunksOf(all).map((some) => this.settleTogether(some)))
  }

  private async settleTogether(all: readonly PlainEnding[]): Promise<void> {
    try {
      const settled = await this.life.settleAll(all)
      all.forEach((ending, i) => {
        const { entry, outcome } = ending
        if (settled?.[i]) this.tell(ending, outcome)
        if (settled) this.slots.release(entry)
        else this.settleAlone(ending)
      })
    } catch (error) {
      this.letGo(all, error)
    }
  }

  private settleAlone(ending: Ending): void {
    const { entry } = ending
    entry.ending = false
    this.slots.retake(entry)
    entry.done = this.hold(entry, this.settle(ending))
  }

  private async settle(ending: Ending): Promise<void> {
    const { started, outcome } = ending
    const settled = await whenFree(() => this.life.settle(started, outcome))
    const terminated = outcome.kind === 'revoked' && outcome.reason === TERMINATED // the operator's word ended the row
    if (settled || terminated) this.tell(ending, settled ?? outcome)
  }

  private tell({ started: { delivery, definition }, runMs }: Ending, outcome: Outcome): void {
    this.emit(eventOf(named(delivery), definition.options, outcome, runMs))
  }

  private async revoke(delivery: Delivery, reason: string): Promise<void> {
    if (await this.life.revoke(delivery, reason)) this.emit({ ...named(delivery), kind: 'revoked', reason })
  }

  private async refuse(delivery: Delivery, error: ErrorRecord): Promise<void> {
    if (await this.life.fail(delivery, error)) this.emit({ ...named(delivery), kind: 'failed', error, expected: false })
  }

  private async giveUp(started: Started): Promise<void> {
    if (started.late) return this.life.giveBack(started)
    const { definition, delivery } = started
    const outcome = await endShutDown(this.life, started, this.now())
    if (outcome) this.emit(eventOf(named(delivery), definition.options, outcome, 0))
  }
}

/** A result is not dropped because the database is busy; while it is being tried the lease is kept. */
async function whenFree<T>(settle: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await settle()
    } catch (error) {
      if (!(error instanceof BusyError) || tries === SETTLE_TRIES) throw error
    }
  }
}

function chunksOf<T>(all: readonly T[]): (readonly T[])[] {
  return Array.from({ length: Math.ceil(all.length / MOST_AT_ONCE) }, (_, i) => all.slice(i * MOST_AT_ONCE, (i + 1) * MOST_AT_ONCE))
}

const named = ({ message: { id, task, retries } }: Delivery) => ({ id, task, retries })
