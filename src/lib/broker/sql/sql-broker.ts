import type { Database } from '../../database/database.js'
import type { Sql } from '../../database/sql.js'
import type { TaskMessage } from '../../task/message.js'
import { noExchange } from '../../task/routing.js'
import type { Broker, Delivery, Postings, Taking } from '../broker.js'
import {
  anythingReady,
  claimReady,
  deleteAllHeld,
  deleteClaimed,
  deleteHeld,
  deleteMessages,
  type HeldMessage,
  hasMessage,
  holdClaimed,
  insertMessage,
  releaseHeld,
  setHeld,
} from './messages.js'

/** Claims of this program come one after the other: in one commit, the first would not be hidden from the second. */
const CLAIMS = 'claims'

/** A message that a commit has claimed. */
interface Found {
  readonly id: number
  /** Null: its body is no task message. */
  readonly delivery: Delivery | null
}

const NONE: ReadonlySet<Delivery> = new Set()

const idsOf = (found: readonly Found[]): number[] => found.map(({ id }) => id)

/** The embedded broker: messages are rows of task_message. Any number of processes may work on one file. */
export class SqlBroker implements Broker {
  readonly within: ((sql: Sql) => Postings) | null = (sql) => new SqlPostings(sql, this.now)

  /** Whether the last look found as much as it asked for. Else the next one only reads first: who is idle never takes the write lock. */
  private more = false

  constructor(
    private readonly database: Database,
    private readonly now: () => number = Date.now,
  ) {}

  publish(messages: readonly TaskMessage[]): Promise<void> {
    return this.database.write((sql) => new SqlPostings(sql, this.now).publish(messages))
  }

  ack(delivery: Delivery): Promise<boolean> {
    return this.database.write((sql) => new SqlPostings(sql, this.now).ack(delivery))
  }

  ackAll(deliveries: readonly Delivery[]): Promise<readonly boolean[]> {
    return this.database.write((sql) => new SqlPostings(sql, this.now).ackAll(deliveries))
  }

  reject(delivery: Delivery, options: { readonly requeue: boolean }): Promise<boolean> {
    return this.database.write((sql) => new SqlPostings(sql, this.now).reject(delivery, options))
  }

  extend(deliveries: readonly Delivery[], leaseUntil: number): Promise<void> {
    return this.database.write((sql) => new SqlPostings(sql, this.now).extend(deliveries, leaseUntil))
  }

  drop(taskIds: readonly string[]): Promise<void> {
    return this.database.write((sql) => new SqlPostings(sql, this.now).drop(taskIds))
  }

  /** A body that is no task message (only a hand could have put it there) is dropped; its row stays open and is found stale. */
  async receive(queues: readonly string[], limit: number, leaseMs: number, taking?: Taking): Promise<Delivery[]> {
    if (!this.more && !(await anythingReady(this.database, queues, this.now()))) return []
    const deliveries = await this.database.write((sql) => this.claim(sql, queues, limit, leaseMs, taking), CLAIMS, limit)
    this.more = deliveries.length === limit
    return deliveries
  }

  private async claim(sql: Sql, queues: readonly string[], limit: number, leaseMs: number, taking?: Taking): Promise<Delivery[]> {
    const now = this.now()
    await releaseHeld(sql, now)
    const leaseUntil = now + leaseMs
    const found: Found[] = []
    for (const queue of queues) {
      const messages = found.length < limit ? await claimReady(sql, queue, limit - found.length) : []
      found.push(...messages.map((message) => ({ id: message.id, delivery: deliveryOf(message, leaseUntil) })))
    }
    const claimed = found.flatMap(({ delivery }) => delivery ?? [])
    const acked = taking && claimed.length > 0 ? await taking(sql, claimed) : NONE
    const isGone = ({ delivery }: Found) => delivery === null || acked.has(delivery)
    await deleteClaimed(sql, idsOf(found.filter(isGone)))
    await holdClaimed(sql, idsOf(found.filter((one) => !isGone(one))), leaseUntil)
    return claimed
  }

  async wait(queues: readonly string[], timeoutMs: number, signal: AbortSignal): Promise<void> {
    const deadline = Date.now() + timeoutMs
    while (!signal.aborted && Date.now() < deadline) {
      const heard = this.database.heard()
      if (await anythingReady(this.database, queues, this.now())) return
      await this.database.rest(heard, signal)
    }
  }

  /** Nothing is fetched ahead. */
  async leave(): Promise<void> {}

  has(taskId: string): Promise<boolean> {
    return hasMessage(this.database, taskId)
  }

  /** The database belongs to the app, which closes it. */
  async close(): Promise<void> {}
}

class SqlPostings implements Postings {
  constructor(
    private readonly sql: Sql,
    private readonly now: () => number,
  ) {}

  async publish(messages: readonly TaskMessage[]): Promise<void> {
    for (const message of messages) {
      if (message.exchange !== '') throw noExchange(message.task, message.exchange)
      await insertMessage(this.sql, message, message.eta !== null && message.eta > this.now() ? message.eta : null)
    }
  }

  ack(delivery: Delivery): Promise<boolean> {
    const { id, deliveries } = readTag(delivery)
    return deleteHeld(this.sql, id, deliveries)
  }

  ackAll(deliveries: readonly Delivery[]): Promise<boolean[]> {
    return deleteAllHeld(this.sql, deliveries.map(readTag))
  }

  reject(delivery: Delivery, { requeue }: { readonly requeue: boolean }): Promise<boolean> {
    const { id, deliveries } = readTag(delivery)
    return requeue ? setHeld(this.sql, id, deliveries, null) : deleteHeld(this.sql, id, deliveries)
  }

  async extend(deliveries: readonly Delivery[], leaseUntil: number): Promise<void> {
    for (const delivery of deliveries) {
      const tag = readTag(delivery)
      await setHeld(this.sql, tag.id, tag.deliveries, leaseUntil)
    }
  }

  drop(taskIds: readonly string[]): Promise<void> {
    return deleteMessages(this.sql, taskIds)
  }
}

function readTag({ tag }: Delivery): { id: number; deliveries: number } {
  const [id, deliveries] = tag.split(':')
  return { id: Number(id), deliveries: Number(deliveries) }
}

/** A message as it is once it is held. Null: its body is no task message. */
function deliveryOf({ id, task_id, body, deliveries: before }: HeldMessage, leaseUntil: number): Delivery | null {
  const message = readBody(task_id, body)
  const deliveries = before + 1
  return message && { message, deliveries, leaseUntil, tag: `${id}:${deliveries}` }
}

function readBody(taskId: string, body: string): TaskMessage | null {
  try {
    const message = JSON.parse(body) as TaskMessage
    return message.id === taskId && typeof message.task === 'string' && Array.isArray(message.args) ? message : null
  } catch {
    return null
  }
}
