import type { Delivery } from '../broker/broker.js'
import type { Sql } from '../database/sql.js'
import type { Redaction } from '../ledger/arguments.js'
import { noteQueue, type Owner } from '../ledger/moves.js'
import { type NewRow, recordAllIfNew, recordTaskIfNew } from '../ledger/record.js'
import { moveAllToStarted, moveToStarted, moveToStartedAndCount, type Start } from '../ledger/starts.js'
import type { TaskDefinition } from '../task/definition.js'
import { leavesNoRow, type MessageOptions, type TaskMessage } from '../task/message.js'

/** A delivery, and how often its message has been handed out, by the broker's count or by its row's. */
type Counted = Delivery & { readonly deliveries: number }

/** An execution that has begun: what is needed to end it. */
export interface Started {
  readonly definition: TaskDefinition
  readonly delivery: Counted
  readonly owner: Owner
  readonly late: boolean
  /** False for a task whose result is ignored: it has no row to move. */
  readonly recorded: boolean
}

/** A delivery that is to begin. */
export interface Beginning {
  readonly definition: TaskDefinition
  /** Its deliveries are null where the broker does not count. */
  readonly delivery: Delivery
}

type Begun = Beginning & Pick<Started, 'owner'>

/** Whether nothing is asked of the task but to run now, for the first time. */
export function isPlain({ options }: TaskDefinition, { message, deliveries }: Delivery, now: number): boolean {
  const first = deliveries === null || deliveries === 1
  return (
    first && options.rateLimit === null && (message.eta === null || message.eta <= now) && message.exchange === '' && !leavesNoRow(message)
  )
}

/** How the executions of one worker begin: their rows become STARTED, or are written as that. */
export class Beginnings {
  constructor(
    private readonly redaction: Redaction,
    private readonly workerId: string,
    private readonly leaseMs: number,
  ) {}

  /** Null: it is not to start. */
  async begin(sql: Sql, { definition, delivery }: Beginning, now: number): Promise<Started | null> {
    const late = definition.options.acksLate
    const rowless = leavesNoRow(delivery.message) && !(late && delivery.deliveries === null) // only a row would count the deliveries
    const owner = await this.take(sql, { definition, delivery }, rowless, now)
    if (!owner && !rowless) return null
    const deliveries = owner?.deliveries ?? delivery.deliveries ?? 1
    const counted = { ...delivery, deliveries }
    return { definition, delivery: counted, owner: owner ?? this.ownerOf(delivery.message, deliveries), late, recorded: owner !== null }
  }

  /** The same for many plain ones; of two messages of one task, one begins it. Null: `begin` is to say what becomes of it. */
  async beginAll(sql: Sql, all: readonly Beginning[], now: number): Promise<(Started | null)[]> {
    const begun = new Map<Beginning, Started>()
    for (const same of byDefinition(all)) {
      const started = same.map((beginning) => this.firstOf(beginning))
      const leaseUntil = Math.min(...same.map((beginning) => this.leaseOf(beginning, now)))
      const moved = await moveAllToStarted(
        sql,
        started.map(({ owner }) => owner),
        this.startOf(same[0] as Beginning, leaseUntil),
        now,
      )
      const left = started.filter((_, i) => !moved[i])
      const recorded = await recordAllIfNew(
        sql,
        left.map((one) => this.row(one, leaseUntil, now)),
      )
      const failed = new Set(left.filter((_, i) => !recorded[i]))
      started.forEach((one, i) => {
        if (!failed.has(one)) begun.set(same[i] as Beginning, one)
      })
    }
    return all.map((beginning) => begun.get(beginning) ?? null)
  }

  /** Writes the row of an execution that has none, for what comes next of it. */
  record(sql: Sql, started: Started, now: number): Promise<boolean> {
    return this.write(sql, started, now, now)
  }

  /** The row of this execution → STARTED, written first if there is none and it is to have one. Null: it is not to start. */
  private async take(sql: Sql, beginning: Beginning, rowless: boolean, now: number): Promise<Owner | null> {
    const { delivery } = beginning
    const leaseUntil = this.leaseOf(beginning, now)
    const deliveries = await this.move(sql, beginning, leaseUntil, now)
    const owner = this.ownerOf(delivery.message, deliveries ?? delivery.deliveries ?? 1)
    if (deliveries !== null) {
      if (delivery.message.exchange !== '') await noteQueue(sql, owner, delivery.message.queue)
      return owner
    }
    return !rowless && (await this.write(sql, { ...beginning, owner }, leaseUntil, now)) ? owner : null
  }

  /** How often the message has been delivered; null: there is no row, or none that is to start. */
  private async move(sql: Sql, beginning: Beginning, leaseUntil: number, now: number): Promise<number | null> {
    const { definition, delivery } = beginning
    const { deliveries } = delivery
    const owner = this.ownerOf(delivery.message, deliveries ?? 1)
    const start = this.startOf(beginning, leaseUntil)
    // an early-ack message that comes again may be one whose ack the broker has not heard: its task may have run
    if (deliveries === null) return moveToStartedAndCount(sql, owner, start, definition.options.acksLate, now)
    return (await moveToStarted(sql, owner, start, now)) ? deliveries : null
  }

  private firstOf({ definition, delivery }: Beginning): Started {
    const counted = delivery.deliveries === 1 ? (delivery as Counted) : { ...delivery, deliveries: 1 }
    return { definition, delivery: counted, owner: this.ownerOf(delivery.message, 1), late: definition.options.acksLate, recorded: true }
  }

  private ownerOf({ id, retries }: TaskMessage, deliveries: number): Owner {
    return { taskId: id, workerId: this.workerId, deliveries, retries }
  }

  /** A late-ack row is never held longer than its message, or the redelivery would find it still held. */
  private leaseOf({ definition, delivery }: Beginning, now: number): number {
    return definition.options.acksLate ? delivery.leaseUntil : now + this.leaseMs
  }

  private startOf({ definition }: Pick<Beginning, 'definition'>, leaseUntil: number): Start {
    const { maxRetries, trackStarted } = definition.options
    const noted = notedOf(definition)
    return { leaseUntil, maxRetries, options: noted && JSON.stringify(noted), track: trackStarted }
  }

  private async write(sql: Sql, begun: Begun, leaseUntil: number, now: number): Promise<boolean> {
    const { message, stored, beginning } = this.row(begun, leaseUntil, now)
    return recordTaskIfNew(sql, message, stored, beginning)
  }

  private row({ owner, definition, delivery: { message } }: Begun, leaseUntil: number, now: number): NewRow {
    const noted = { ...message, options: { ...message.options, ...notedOf(definition) } }
    const beginning = {
      status: definition.options.trackStarted ? 'STARTED' : 'PENDING',
      publishedAt: message.submittedAt,
      maxRetries: definition.options.maxRetries,
      eta: message.eta,
      retries: message.retries,
      started: { workerId: owner.workerId, leaseUntil, deliveries: owner.deliveries },
      now,
    } as const
    return { message, stored: this.redaction.stored(noted, true), beginning }
  }
}

/** What this worker's task declares; the row tells by it what a lost worker means. */
function notedOf({ options }: TaskDefinition): MessageOptions | null {
  const { acksLate, onWorkerLost } = options
  if (acksLate) return { acksLate }
  return onWorkerLost === 'report' ? null : { onWorkerLost }
}

function byDefinition(all: readonly Beginning[]): Iterable<Beginning[]> {
  const groups = new Map<TaskDefinition, Beginning[]>()
  for (const one of all) {
    const group = groups.get(one.definition)
    if (group) group.push(one)
    else groups.set(one.definition, [one])
  }
  return groups.values()
}
