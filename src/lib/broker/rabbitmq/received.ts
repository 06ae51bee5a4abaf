import type { Channel, ConsumeMessage } from 'amqplib'
import { PlainError } from '../../task/errors.js'
import type { Delivery } from '../broker.js'
import { readCelery } from './celery-reading.js'

/** A message that has no id, so that nobody can be told what became of it. */
export class UnreadableMessageError extends PlainError {}

export type Fate = 'ack' | 'requeue' | 'reject'

/** A message in a worker's hands. */
interface Held {
  readonly message: ConsumeMessage
  leaseUntil: number
  /** Its lease had run out when it was last looked at. */
  overdue: boolean
}

/** What has come on one channel, and goes back to its queues with it. */
export class Received {
  /** Fetched ahead, by queue. */
  private readonly waiting = new Map<string, ConsumeMessage[]>()
  /** Handed out, by delivery tag. */
  private readonly held = new Map<number, Held>()
  /** What is to be acked at the end of this turn. */
  private acking: number[] = []
  private told: Promise<boolean> | null = null

  /** @param number tells this channel from those before it */
  constructor(
    private readonly channel: Channel,
    private readonly number: number,
    private readonly report: (error: unknown) => void,
    private readonly now: () => number,
  ) {}

  add(queue: string, message: ConsumeMessage): void {
    const waiting = this.waiting.get(queue) ?? []
    waiting.push(message)
    this.waiting.set(queue, waiting)
  }

  isWaiting(queues: readonly string[]): boolean {
    return queues.some((queue) => (this.waiting.get(queue)?.length ?? 0) > 0)
  }

  /** What has come is read when it is handed out: until then it is only kept. */
  handOut(queues: readonly string[], limit: number, leaseMs: number): Delivery[] {
    const deliveries: Delivery[] = []
    for (const queue of queues) {
      const waiting = this.waiting.get(queue) ?? []
      while (deliveries.length < limit) {
        const message = waiting.shift()
        if (!message) break
        const delivery = this.read(queue, message, leaseMs)
        if (delivery) deliveries.push(delivery)
      }
    }
    return deliveries
  }

  /** False: the message was not in these hands any more. */
  async settle({ tag }: Delivery, fate: Fate): Promise<boolean> {
    const deliveryTag = this.readTag(tag)
    const held = this.held.get(deliveryTag)
    if (held === undefined) return false
    this.held.delete(deliveryTag)
    return fate === 'ack' ? this.ack(deliveryTag) : this.answer(held.message, fate)
  }

  async ackAll(deliveries: readonly Delivery[]): Promise<readonly boolean[]> {
    const ours = deliveries.map(({ tag }) => this.held.delete(this.readTag(tag)))
    this.acking.push(...deliveries.filter((_, i) => ours[i]).map(({ tag }) => this.readTag(tag)))
    const told = await this.tellAtEnd()
    return ours.map((one) => one && told)
  }

  extend(deliveries: readonly Delivery[], leaseUntil: number): void {
    for (const { tag } of deliveries) {
      const held = this.held.get(this.readTag(tag))
      if (held) Object.assign(held, { leaseUntil, overdue: false })
    }
  }

  /** Gives back what nobody has taken. */
  giveBack(queue: string): void {
    for (const message of this.waiting.get(queue) ?? []) this.answer(message, 'requeue')
    this.waiting.delete(queue)
  }

  /**
   * Gives back what its holder has forgotten. A process that was paused finds its leases run out, and can renew them: it is
   * still connected, so nobody else has had the messages.
   */
  sweep(): void {
    for (const [deliveryTag, held] of this.held) {
      if (held.leaseUntil > this.now()) continue
      if (held.overdue) {
        this.held.delete(deliveryTag)
        this.answer(held.message, 'requeue')
      } else held.overdue = true
    }
  }

  private read(queue: string, message: ConsumeMessage, leaseMs: number): Delivery | null {
    const now = this.now()
    const reading = readCelery(message, queue, now)
    if (!reading.message) {
      this.answer(message, 'reject')
      this.report(new UnreadableMessageError(`a message in the queue ${queue} was rejected: ${reading.fault}`))
      return null
    }
    const { deliveryTag } = message.fields
    const leaseUntil = now + leaseMs
    this.held.set(deliveryTag, { message, leaseUntil, overdue: false })
    const fault = reading.fault === null ? {} : { fault: reading.fault }
    return { message: reading.message, deliveries: null, leaseUntil, tag: `${this.number}:${deliveryTag}`, ...fault }
  }

  /** Many tasks end their step in one commit: the server is told of them in few words. */
  private ack(deliveryTag: number): Promise<boolean> {
    this.acking.push(deliveryTag)
    return this.tellAtEnd()
  }

  private tellAtEnd(): Promise<boolean> {
    this.told ??= new Promise((resolve) => {
      process.nextTick(() => resolve(this.tellAcks())) // once the others of this turn have come as far
    })
    return this.told
  }

  /** All that comes before what is still here is acked by one word; false: the channel has gone, and the messages with it. */
  private tellAcks(): boolean {
    const acked = this.acking
    this.acking = []
    this.told = null
    const before = this.firstLeft()
    const together = acked.filter((deliveryTag) => deliveryTag < before)
    try {
      if (together.length > 0) this.channel.ack(tagged(Math.max(...together)), true)
      for (const deliveryTag of acked) if (deliveryTag > before) this.channel.ack(tagged(deliveryTag))
      return true
    } catch {
      return false
    }
  }

  /** The tag of the first message that is neither acked nor given back. */
  private firstLeft(): number {
    let first = Number.POSITIVE_INFINITY
    for (const [message] of this.waiting.values()) first = Math.min(first, message?.fields.deliveryTag ?? first)
    for (const deliveryTag of this.held.keys()) first = Math.min(first, deliveryTag)
    return first
  }

  /** False: the channel has gone, and the message with it. */
  private answer(message: ConsumeMessage, fate: Exclude<Fate, 'ack'>): boolean {
    try {
      this.channel.reject(message, fate === 'requeue')
      return true
    } catch {
      return false
    }
  }

  /** The tag that the channel knows the delivery by; 0 is none: it came on another channel. */
  private readTag(tag: string): number {
    const [number, deliveryTag] = tag.split(':')
    return Number(number) === this.number ? Number(deliveryTag) : 0
  }
}

/** All that amqplib reads of a message that is acked. */
const tagged = (deliveryTag: number) => ({ fields: { deliveryTag } }) as ConsumeMessage
