import { once } from 'node:events'
import type { ChannelModel, ConfirmChannel, Options } from 'amqplib'
import { PlainError, UsageError } from '../../task/errors.js'
import type { TaskMessage } from '../../task/message.js'
import { type CeleryMessage, celeryMessage, type Publishing } from './celery-message.js'
import { ANSWER_MS, answer, type Link } from './link.js'
import type { Queues } from './queues.js'

/** A message that RabbitMQ found no queue for. */
export class UnroutableError extends PlainError {}

/** A message that RabbitMQ closed the channel over. */
export class RefusedMessageError extends PlainError {}

/** One of several messages that were under way when RabbitMQ closed the channel: over which of them it does not say. */
class TakenAlongError extends RefusedMessageError {}

/** A message to whoever reads one queue. */
export interface QueuedReply {
  readonly routingKey: string
  readonly properties: Options.Publish
  readonly body: Buffer
}

/** A message that the server has not confirmed yet. */
interface Unconfirmed {
  readonly message: TaskMessage
  /** What the server said when it gave the message back. */
  returned: string | null
}

/** A channel to publish on, and what was heard of it. */
interface Session {
  readonly connection: ChannelModel
  readonly channel: ConfirmChannel
  readonly unconfirmed: Set<Unconfirmed>
  /** Why the server closed it, over one of these messages. */
  failure: { readonly error: Error; readonly over: ReadonlySet<Unconfirmed> } | null
  /** Why the connection ended. */
  lost: Error | null
  /** Why the server takes nothing at present. */
  blocked: string | null
}

/** Publishes, and waits until the server has confirmed. */
export class Outbox {
  private opened: Promise<Session> | null = null
  private lastAlone: Promise<void> = Promise.resolve()

  constructor(
    private readonly link: Link,
    private readonly queues: Queues,
    private readonly publishing: Publishing,
    private readonly now: () => number,
  ) {}

  /**
   * Resolves once the server has stored every message.
   *
   * @throws {UnavailableError} when it did not say so; it may have stored some of them all the same
   * @throws {UnroutableError} when it found no queue for a message
   * @throws {RefusedMessageError} when it does not want a message
   */
  async publish(messages: readonly TaskMessage[]): Promise<void> {
    const settled = messages.length === 0 ? [] : await this.hand(messages)
    for (const [i, message] of messages.entries()) {
      const one = settled[i]
      if (one?.status !== 'rejected') continue
      if (!(one.reason instanceof TakenAlongError)) throw one.reason
      await this.publishAlone(message)
    }
  }

  /** One message after the other, so that a channel which is closed again was closed over this one. */
  private publishAlone(message: TaskMessage): Promise<void> {
    const published = this.lastAlone.then(async () => {
      const [one] = await this.hand([message])
      if (one?.status === 'rejected') throw one.reason
    })
    this.lastAlone = published.catch(() => {})
    return published
  }

  private async hand(messages: readonly TaskMessage[]): Promise<PromiseSettledResult<void>[]> {
    const session = await this.session()
    for (const message of messages) await this.prepare(session, message)
    const confirms: Promise<void>[] = []
    for (const message of messages) {
      const sent = this.send(session, message)
      confirms.push(sent.confirmed)
      if (sent.full) await Promise.race([once(session.channel, 'drain'), sent.confirmed]).catch(() => {}) // its end is heard below
    }
    return Promise.allSettled(confirms)
  }

  /**
   * Sends to a queue that its reader has declared. Where that is gone, so is the reader: that is no failure.
   *
   * @throws {UnavailableError} when the server did not say that it has the message
   */
  async reply({ routingKey, properties, body }: QueuedReply): Promise<void> {
    const session = await this.session()
    await new Promise<void>((resolve, reject) => {
      const patience = setTimeout(() => settle(silence(session)), ANSWER_MS)
      const settle = (error: unknown) => {
        clearTimeout(patience)
        if (error) reject(this.link.unavailable(`did not confirm the reply to ${routingKey}`, error))
        else resolve()
      }
      try {
        session.channel.publish('', routingKey, body, { ...properties }, settle)
      } catch (error) {
        settle(error)
      }
    })
  }

  private async prepare({ connection }: Session, { queue, exchange }: TaskMessage): Promise<void> {
    try {
      await (exchange === '' ? this.queues.declare(connection, queue) : this.queues.find(connection, exchange))
    } catch (error) {
      const what = exchange === '' ? `queue ${queue}` : `exchange ${exchange}`
      throw error instanceof PlainError ? error : this.link.unavailable(`could not be asked for the ${what}`, error)
    }
  }

  private session(): Promise<Session> {
    if (this.opened === null) {
      const opening = this.open()
      const forget = () => {
        if (this.opened === opening) this.opened = null
      }
      this.opened = opening
      opening.then(({ channel }) => channel.once('close', forget), forget)
    }
    return this.opened
  }

  private async open(): Promise<Session> {
    const connection = await this.link.open()
    const channel = await answer(connection.createConfirmChannel()).catch((error) => {
      throw this.link.unavailable('went away', error)
    })
    const session: Session = { connection, channel, unconfirmed: new Set(), failure: null, lost: null, blocked: null }
    channel.on('error', (error) => {
      session.failure = { error, over: new Set(session.unconfirmed) }
    })
    channel.on('return', ({ fields, properties }) => {
      const { replyText } = fields as { readonly replyText?: string }
      for (const one of session.unconfirmed) if (one.message.id === properties.correlationId) one.returned = replyText ?? 'no route'
    })
    connection.on('error', (error) => {
      session.lost = error
    })
    connection.on('blocked', (reason) => {
      session.blocked = reason
    })
    connection.on('unblocked', () => {
      session.blocked = null
    })
    return session
  }

  private send(session: Session, message: TaskMessage): { readonly confirmed: Promise<void>; readonly full: boolean } {
    const celery = celeryMessage(message, this.publishing, this.now())
    const one: Unconfirmed = { message, returned: null }
    let full = false
    const confirmed = new Promise<void>((resolve, reject) => {
      const patience = setTimeout(() => settle(silence(session)), ANSWER_MS)
      const settle = (error: unknown) => {
        clearTimeout(patience)
        session.unconfirmed.delete(one)
        const failure = this.failureOf(session, one, error)
        if (failure) reject(failure)
        else resolve()
      }
      session.unconfirmed.add(one)
      try {
        full = !write(session.channel, celery, settle)
      } catch (error) {
        settle(error)
      }
    })
    confirmed.catch(() => {}) // whoever publishes hears of it once all are settled
    return { confirmed, full }
  }

  private failureOf(session: Session, one: Unconfirmed, error: unknown): Error | null {
    const { message, returned } = one
    const { id, queue, exchange, routingKey } = message
    if (returned !== null) {
      this.queues.forget(message)
      const where = exchange === '' ? `the queue ${queue}` : `the exchange ${exchange} with the routing key ${routingKey}`
      return new UnroutableError(`RabbitMQ has no queue for the message of task ${id}: it gave it back from ${where} (${returned})`, {
        hint: exchange === '' ? 'publish it again; if the queue is not declared then, see who deletes it' : 'bind a queue to it',
      })
    }
    if (error === null || error === undefined) return null
    if (error instanceof RangeError || error instanceof TypeError) {
      return new UsageError(`the message of task ${id} cannot be sent through RabbitMQ: ${error.message}`, {
        cause: error,
        hint: 'give it shorter headers',
      })
    }
    if (session.failure) {
      this.queues.forget(message)
      const { error: cause, over } = session.failure
      const Refusal = over.size === 1 && over.has(one) ? RefusedMessageError : TakenAlongError
      return new Refusal(`RabbitMQ refused the message of task ${id}: ${cause.message}`, { cause })
    }
    return this.link.unavailable(`did not confirm the message of task ${id}`, session.lost ?? error)
  }
}

const silence = ({ blocked }: Session): Error => new Error(blocked ?? `it did not answer within ${ANSWER_MS / 1000} s`)

/** False: the channel has more to send than it likes to hold. */
function write(
  channel: ConfirmChannel,
  { exchange, routingKey, properties, headers, body }: CeleryMessage,
  settle: (error: unknown) => void,
): boolean {
  return channel.publish(exchange, routingKey, body, { ...properties, headers, mandatory: true }, settle)
}
