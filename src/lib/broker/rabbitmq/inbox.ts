import type { Channel, ChannelModel, ConsumeMessage } from 'amqplib'
import { PlainError } from '../../task/errors.js'
import { toQueue } from '../../task/routing.js'
import type { Delivery } from '../broker.js'
import { answer, type Link } from './link.js'
import type { Queues } from './queues.js'
import { type Fate, Received } from './received.js'

/** Pauses between two tries to reach a server that is away. */
const FIRST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 10_000

/** AMQP counts in 16 bits. */
const LARGEST_PREFETCH = 65_535

interface Consumer {
  readonly tag: string
  readonly prefetch: number
}

/** A channel to receive on. */
interface Session {
  readonly connection: ChannelModel
  readonly channel: Channel
  /** By queue. */
  readonly consumers: Map<string, Consumer>
  readonly received: Received
}

/** Receives: the server pushes what workers then take. */
export class Inbox {
  private opened: Promise<Session> | null = null
  private current: Session | null = null
  private sessions = 0
  private pauseMs = 0
  private triedAt = Number.NEGATIVE_INFINITY
  private sweeping: NodeJS.Timeout | null = null
  private readonly listeners = new Set<() => void>()
  /** To subscribe is two words to the channel, and nothing may come between. */
  private subscribing: Promise<unknown> = Promise.resolve()

  constructor(
    private readonly link: Link,
    private readonly queues: Queues,
    private readonly prefetchMultiplier: number,
    private readonly report: (error: unknown) => void,
    private readonly now: () => number,
  ) {}

  async receive(queues: readonly string[], limit: number, leaseMs: number): Promise<Delivery[]> {
    if (queues.length === 0) return []
    const session = await this.session()
    if (!session) return []
    this.sweeping ??= setInterval(() => this.current?.received.sweep(), leaseMs / 3).unref()
    for (const queue of queues) await this.subscribe(session, queue, limit)
    return session.received.handOut(queues, limit, leaseMs)
  }

  /** Resolves when something may be there to receive. */
  wait(queues: readonly string[], timeoutMs: number, signal: AbortSignal): Promise<void> {
    const isThere = () => this.current?.received.isWaiting(queues) ?? false
    if (signal.aborted || isThere()) return Promise.resolve()
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer)
        this.listeners.delete(look)
        signal.removeEventListener('abort', done)
        resolve()
      }
      const look = () => {
        if (isThere()) done()
      }
      const timer = setTimeout(done, timeoutMs)
      this.listeners.add(look)
      signal.addEventListener('abort', done, { once: true })
    })
  }

  /** False: the message was not in these hands any more. */
  async settle(delivery: Delivery, fate: Fate): Promise<boolean> {
    return this.current?.received.settle(delivery, fate) ?? false
  }

  /** The same as many times `settle` with an ack. */
  async ackAll(deliveries: readonly Delivery[]): Promise<readonly boolean[]> {
    return this.current?.received.ackAll(deliveries) ?? deliveries.map(() => false)
  }

  extend(deliveries: readonly Delivery[], leaseUntil: number): void {
    this.current?.received.extend(deliveries, leaseUntil)
  }

  /** Has nothing more pushed from these queues, and gives back what nobody has taken. */
  async leave(queues: readonly string[]): Promise<void> {
    const session = this.current
    if (!session) return
    for (const queue of queues) {
      const consumer = session.consumers.get(queue)
      session.consumers.delete(queue)
      try {
        if (consumer) await session.channel.cancel(consumer.tag)
      } catch {
        return // the channel has gone, and everything with it
      }
      session.received.giveBack(queue)
    }
  }

  async close(): Promise<void> {
    if (this.sweeping) clearInterval(this.sweeping)
    await this.link.close() // what was not acked goes back to its queue
  }

  /** Null: the server is away, and it is not time yet to try again. */
  private session(): Promise<Session | null> {
    if (this.opened !== null) return this.opened
    if (performance.now() - this.triedAt < this.pauseMs) return Promise.resolve(null)
    this.triedAt = performance.now()
    const opening = this.open()
    const forget = () => {
      if (this.opened === opening) this.opened = null
    }
    this.opened = opening
    opening.then(
      (session) => {
        this.pauseMs = 0
        session.channel.once('close', () => {
          forget()
          if (this.current === session) this.current = null
        })
      },
      () => {
        forget()
        this.pauseMs = Math.min(LONGEST_PAUSE_MS, this.pauseMs * 2 || FIRST_PAUSE_MS)
      },
    )
    return opening
  }

  private async open(): Promise<Session> {
    const connection = await this.link.open()
    const channel = await answer(connection.createChannel()).catch((error) => {
      throw this.link.unavailable('went away', error)
    })
    this.sessions += 1
    channel.on('error', (error) => this.report(this.link.unavailable('closed the channel', error)))
    connection.once('close', (error) => {
      if (error) this.report(this.link.unavailable('was lost', error))
    })
    const received = new Received(channel, this.sessions, this.report, this.now)
    this.current = { connection, channel, consumers: new Map(), received }
    return this.current
  }

  private subscribe(session: Session, queue: string, limit: number): Promise<void> {
    const wanted = Math.min(limit * this.prefetchMultiplier, LARGEST_PREFETCH)
    const consumer = session.consumers.get(queue)
    if (consumer && consumer.prefetch >= wanted) return Promise.resolve()
    const subscribed = this.subscribing.then(() => answer(this.consume(session, queue, wanted)))
    this.subscribing = subscribed.catch(() => {})
    return subscribed.catch((error) => {
      throw error instanceof PlainError ? error : this.link.unavailable(`could not be asked for the queue ${queue}`, error)
    })
  }

  private async consume({ channel, consumers, connection, received }: Session, queue: string, prefetch: number): Promise<void> {
    const before = consumers.get(queue)
    if (before && before.prefetch >= prefetch) return
    await this.queues.declare(connection, queue)
    if (before) await channel.cancel(before.tag)
    await channel.prefetch(prefetch)
    const arrived = (message: ConsumeMessage | null) => {
      if (message) received.add(queue, message)
      else this.deleted(consumers, queue)
      for (const look of [...this.listeners]) look()
    }
    const { consumerTag } = await channel.consume(queue, arrived)
    consumers.set(queue, { tag: consumerTag, prefetch })
  }

  /** A queue that an operator has deleted is declared again when somebody asks for it. */
  private deleted(consumers: Session['consumers'], queue: string): void {
    consumers.delete(queue)
    this.queues.forget(toQueue(queue))
  }
}
