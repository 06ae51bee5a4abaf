import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import type { TaskMessage } from '../../task/message.js'
import type { Broker, Delivery } from '../broker.js'
import { Inbox } from './inbox.js'
import { Link } from './link.js'
import { Outbox, type QueuedReply } from './outbox.js'
import { type QueueArguments, Queues } from './queues.js'

export interface RabbitSettings {
  /** `amqp://user:password@host:port/vhost`, or `amqps://` */
  readonly url: string
  /** How many messages of a queue are fetched ahead for each task that may run. */
  readonly prefetchMultiplier: number
  readonly queueArguments: QueueArguments
}

/**
 * RabbitMQ, in Celery's protocol 2. It connects when it is first used.
 *
 * Publishing and receiving have a connection each, so that a server which takes no messages for want of memory still takes acks.
 */
export class RabbitBroker implements Broker {
  readonly within = null
  private readonly outgoing: Link
  private readonly outbox: Outbox
  private readonly inbox: Inbox

  constructor({ url, prefetchMultiplier, queueArguments }: RabbitSettings, report: (error: unknown) => void, now: () => number = Date.now) {
    const publishing = { origin: `gen${process.pid}@${hostname()}`, replyTo: randomUUID() }
    this.outgoing = new Link(url, 'publishes')
    this.outbox = new Outbox(this.outgoing, new Queues(queueArguments), publishing, now)
    this.inbox = new Inbox(new Link(url, 'consumes'), new Queues(queueArguments), prefetchMultiplier, report, now)
  }

  publish(messages: readonly TaskMessage[]): Promise<void> {
    return this.outbox.publish(messages)
  }

  /** Sends a result to a client that waits on a queue of its own. */
  reply(reply: QueuedReply): Promise<void> {
    return this.outbox.reply(reply)
  }

  receive(queues: readonly string[], limit: number, leaseMs: number): Promise<Delivery[]> {
    return this.inbox.receive(queues, limit, leaseMs)
  }

  wait(queues: readonly string[], timeoutMs: number, signal: AbortSignal): Promise<void> {
    return this.inbox.wait(queues, timeoutMs, signal)
  }

  /** True says that the server was told; that it has heard is not known. */
  ack(delivery: Delivery): Promise<boolean> {
    return this.inbox.settle(delivery, 'ack')
  }

  ackAll(deliveries: readonly Delivery[]): Promise<readonly boolean[]> {
    return this.inbox.ackAll(deliveries)
  }

  reject(delivery: Delivery, { requeue }: { readonly requeue: boolean }): Promise<boolean> {
    return this.inbox.settle(delivery, requeue ? 'requeue' : 'reject')
  }

  async extend(deliveries: readonly Delivery[], leaseUntil: number): Promise<void> {
    this.inbox.extend(deliveries, leaseUntil)
  }

  /** No message can be taken out of the middle of a queue. Its task has ended by then, so whoever gets it lets it go. */
  async drop(): Promise<void> {}

  leave(queues: readonly string[]): Promise<void> {
    return this.inbox.leave(queues)
  }

  async has(): Promise<null> {
    return null
  }

  async close(): Promise<void> {
    await Promise.all([this.inbox.close(), this.outgoing.close()])
  }
}
