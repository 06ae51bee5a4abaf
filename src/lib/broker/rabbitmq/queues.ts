import type { Channel, ChannelModel } from 'amqplib'
import { ConfigurationError } from '../../task/errors.js'
import type { Destination } from '../../task/routing.js'
import { answer } from './link.js'

/** Arguments of queues that are not declared as Celery declares its own, such as `{ "x-max-priority": 10 }`, by their names. */
export type QueueArguments = Readonly<Record<string, Readonly<Record<string, string | number | boolean>>>>

/** What RabbitMQ answers to a declaration it does not want: not allowed, somebody else's own, there already with other arguments. */
const REFUSED = [403, 405, 406]
const NOT_FOUND = 404

/** The queues and exchanges that are known to be there, each looked at once in the life of a connection. */
export class Queues {
  private declared = new Map<string, Promise<void>>()
  private connection: ChannelModel | null = null

  constructor(private readonly queueArguments: QueueArguments) {}

  /**
   * Declares a queue as Celery does: durable, without arguments, and bound to a direct exchange of its name. One that exists
   * otherwise is used as it is.
   *
   * @throws {ConfigurationError} when there is none and this user may not make it
   */
  declare(connection: ChannelModel, queue: string): Promise<void> {
    return this.once(connection, `queue ${queue}`, () => declareQueue(connection, queue, this.queueArguments[queue]))
  }

  /**
   * Looks for an exchange: a message to one that is not there would take the channel along, and the other messages on it. What
   * kind it is to be only its owner knows.
   *
   * @throws {ConfigurationError} when there is none
   */
  find(connection: ChannelModel, exchange: string): Promise<void> {
    return this.once(connection, `exchange ${exchange}`, () => findExchange(connection, exchange))
  }

  /** Where the message of this destination was to go is looked at again when it is needed next: it has gone. */
  forget({ queue, exchange }: Pick<Destination, 'queue' | 'exchange'>): void {
    this.declared.delete(exchange === '' ? `queue ${queue}` : `exchange ${exchange}`)
  }

  private once(connection: ChannelModel, what: string, look: () => Promise<void>): Promise<void> {
    if (this.connection !== connection) {
      this.connection = connection
      this.declared = new Map()
    }
    let looking = this.declared.get(what)
    if (looking === undefined) {
      looking = answer(look())
      this.declared.set(what, looking)
      looking.catch(() => this.declared.delete(what))
    }
    return looking
  }
}

async function findExchange(connection: ChannelModel, exchange: string): Promise<void> {
  const missing = await refusalOf(connection, (channel) => channel.checkExchange(exchange))
  if (!missing) return
  throw new ConfigurationError(`RabbitMQ has no exchange ${exchange} that this user may use: ${missing.message}`, {
    cause: missing,
    hint: 'have it declared by those who bind their queues to it, or correct the setting routes',
  })
}

async function declareQueue(connection: ChannelModel, queue: string, own: QueueArguments[string] | undefined): Promise<void> {
  const refused = await refusalOf(connection, (channel) =>
    channel.assertQueue(queue, { durable: true, ...(own ? { arguments: own } : {}) }),
  )
  const missing = refused && (await refusalOf(connection, (channel) => channel.checkQueue(queue)))
  if (refused && missing) {
    throw new ConfigurationError(`RabbitMQ has no queue ${queue} that this user may use: ${missing.message}`, {
      cause: refused,
      hint: 'have it declared, or allow this user to do so',
    })
  }
  // for those who publish through it, as some do; nothing of ours needs it
  await refusalOf(connection, async (channel) => {
    await channel.assertExchange(queue, 'direct', { durable: true })
    await channel.bindQueue(queue, queue, queue)
  })
}

/** What the server had against `ask`, whose channel it then closed; null: nothing. */
async function refusalOf(connection: ChannelModel, ask: (channel: Channel) => Promise<unknown>): Promise<Error | null> {
  const channel = await connection.createChannel()
  channel.on('error', () => {}) // the answer to what was asked says it
  try {
    await ask(channel)
  } catch (error) {
    if (error instanceof Error && 'code' in error && [...REFUSED, NOT_FOUND].includes(Number(error.code))) return error
    throw error
  }
  channel.close().catch(() => {}) // not waited for: where the connection is lost meanwhile, amqplib never answers
  return null
}
