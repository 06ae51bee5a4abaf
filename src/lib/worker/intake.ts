import type { Broker, Delivery, Taking } from '../broker/broker.js'
import { MOST_AT_ONCE } from '../database/commits.js'
import type { TaskDefinition } from '../task/definition.js'
import { BusyError, UnavailableError } from '../task/errors.js'
import type { Failpoint } from '../task/failpoint.js'
import { isPlain, type Started } from './beginnings.js'
import type { Life } from './life.js'

/** The tasks a worker runs, by name. It may grow while the worker works. */
export type KnownTasks = Pick<ReadonlyMap<string, TaskDefinition>, 'get' | 'keys'>

/** A delivery that a worker has received, and how far it has come by that. */
export interface Received {
  readonly delivery: Delivery
  /** Its task, if that has nothing special about it; null for any other. */
  readonly plain: TaskDefinition | null
  /** Null: it is still to start. */
  readonly started: Started | null
}

/** How a worker comes by what it runs. A broker in the ledger's own database starts plain tasks in the commit that claims them. */
export class Intake {
  constructor(
    private readonly broker: Broker,
    private readonly life: Life,
    private readonly tasks: KnownTasks,
    private readonly settings: { readonly queues: readonly string[]; readonly leaseMs: number },
    private readonly stopping: AbortSignal,
    private readonly now: () => number,
    private readonly failpoint: Failpoint,
  ) {}

  async receive(limit: number): Promise<readonly Received[]> {
    await this.failpoint('claim:before')
    return this.broker.within ? this.receiveStarted(Math.min(limit, MOST_AT_ONCE)) : this.receiveOnly(limit)
  }

  private async receiveOnly(limit: number): Promise<readonly Received[]> {
    const { queues, leaseMs } = this.settings
    const deliveries = await this.broker.receive(queues, limit, leaseMs)
    if (deliveries.length > 0) await this.failpoint('claim:received')
    return deliveries.map((delivery) => ({ delivery, plain: this.plainTask(delivery), started: null }))
  }

  /** When some keep the others from starting, nothing was written: all are received, and each starts by itself. */
  private async receiveStarted(limit: number): Promise<readonly Received[]> {
    const { queues, leaseMs } = this.settings
    let begun: ReadonlyMap<Delivery, Started> = new Map()
    const taking: Taking = async (sql, claimed) => {
      begun = new Map()
      if (this.stopping.aborted) return new Set()
      const plain = claimed.flatMap((delivery) => {
        const definition = this.plainTask(delivery)
        return definition ? [{ definition, delivery }] : []
      })
      const started = await this.life.startWithin(sql, plain)
      begun = new Map(plain.flatMap(({ delivery }, i) => (started[i] ? [[delivery, started[i]]] : [])))
      return new Set([...begun].flatMap(([delivery, { late }]) => (late ? [] : [delivery])))
    }
    const deliveries = await this.broker.receive(queues, limit, leaseMs, taking).catch((error) => {
      if (error instanceof UnavailableError || error instanceof BusyError) throw error
      return null
    })
    if (deliveries === null) return this.receiveOnly(limit)
    if (deliveries.length > 0) await this.failpoint('claim:received')
    return deliveries.map((delivery) => {
      const started = begun.get(delivery) ?? null
      return { delivery, plain: started?.definition ?? null, started }
    })
  }

  /** The task of a delivery that has nothing special about it; null for any other delivery. */
  private plainTask(delivery: Delivery): TaskDefinition | null {
    const now = this.now()
    const { expires, task } = delivery.message
    const definition = delivery.fault === undefined && (expires === null || expires > now) ? this.tasks.get(task) : undefined
    return definition && isPlain(definition, delivery, now) ? definition : null
  }
}
