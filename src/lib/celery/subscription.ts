import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type * as Amqplib from 'amqplib'
import { ConfigurationError, UnavailableError } from '../task/errors.js'
import type { Address } from './address.js'
import { type Decoded, decodeEvents } from './events.js'

/** Seconds between two signs of life of the connection; one that is silent for two of them is given up. */
const HEARTBEAT = 10

const CONNECT_MS = 10_000
const CLOSE_MS = 5000

/** As Celery's own receivers declare theirs: an event that nobody fetches is soon of no use. */
const QUEUE = { durable: false, autoDelete: true, expires: 60_000, messageTtl: 5000 } as const

/** Messages in our hands; a ledger that is behind gets no more until it has caught up. */
const PREFETCH = 1000

/** A queue of our own on Celery's exchange of events. */
export class Subscription {
  readonly queue = `celeryev.${randomUUID()}`
  /** Resolves when there will be no more events: with the reason, or with null after `close`. */
  readonly ended: Promise<Error | null>
  private end: (reason: Error | null) => void = () => {}
  private last: Amqplib.ConsumeMessage | null = null
  private over = false

  private constructor(
    private readonly connection: Amqplib.ChannelModel,
    private readonly channel: Amqplib.Channel,
    private readonly receive: (decoded: Decoded) => void,
  ) {
    this.ended = new Promise((resolve) => {
      this.end = (reason) => {
        this.over = true
        resolve(reason)
      }
    })
    connection.on('error', this.end)
    connection.on('close', (error) => this.end(error ?? new Error('the connection was closed')))
    channel.on('error', this.end)
    channel.on('close', () => this.end(new Error('the channel was closed')))
  }

  /**
   * Subscribes to every event. `receive` is called for each message, in the order they come.
   *
   * @throws {UnavailableError} when the broker cannot be reached or refuses us
   * @throws {ConfigurationError} when amqplib is not installed
   */
  static async open(address: Address, receive: (decoded: Decoded) => void): Promise<Subscription> {
    const connection = await connect(address)
    try {
      const subscription = new Subscription(connection, await connection.createChannel(), receive)
      await subscription.begin()
      return subscription
    } catch (error) {
      await hangUp(connection)
      throw unavailable(address, 'does not let us watch', error)
    }
  }

  /** Has the broker send more: what was handed over so far is dealt with. */
  proceed(): void {
    if (this.last && !this.over) this.channel.ack(this.last, true)
    this.last = null
  }

  /** Has running workers send events of tasks, as `celery control enable_events` does. False: no worker ever ran on this broker. */
  enableEvents(): Promise<boolean> {
    return broadcast(this.connection, 'enable_events')
  }

  /** Also to be called once it has ended by itself. */
  close(): Promise<void> {
    this.end(null)
    return hangUp(this.connection)
  }

  private async begin(): Promise<void> {
    await this.channel.assertExchange('celeryev', 'topic', { durable: true })
    await this.channel.assertQueue(this.queue, QUEUE)
    await this.channel.bindQueue(this.queue, 'celeryev', '#')
    await this.channel.prefetch(PREFETCH)
    await this.channel.consume(this.queue, (message) => this.consume(message))
  }

  private consume(message: Amqplib.ConsumeMessage | null): void {
    if (message === null) {
      this.end(new Error('its queue was deleted'))
      return
    }
    this.last = message
    this.receive(decodeEvents(message.content))
  }
}

/** Sends a command to every worker, on a channel of its own: the broker closes the one that names an exchange that is not there. */
async function broadcast(connection: Amqplib.ChannelModel, method: string): Promise<boolean> {
  const channel = await connection.createConfirmChannel()
  channel.on('error', () => {}) // what waits for the confirm is told
  // Celery's library reads any other form of a number wrongly
  const int = (value: number) => ({ '!': 'int', value })
  const headers = { clock: int(1), expires: int(0) }
  const body = { method, arguments: {}, destination: null, pattern: null, matcher: null }
  const options = { contentType: 'application/json', contentEncoding: 'utf-8', deliveryMode: 2, priority: 0, headers }
  try {
    channel.publish('celery.pidbox', '', Buffer.from(JSON.stringify(body)), options)
    await channel.waitForConfirms()
    await channel.close()
    return true
  } catch (error) {
    if (error instanceof Error && /404|NOT.FOUND|closed/i.test(error.message)) return false
    throw error
  }
}

async function connect(address: Address): Promise<Amqplib.ChannelModel> {
  const amqplib = await loadAmqplib()
  const { protocol, hostname: host, port, username, password, vhost } = address
  const where = { protocol, hostname: host, port, username, password, vhost: encodeURIComponent(vhost), heartbeat: HEARTBEAT }
  const clientProperties = { connection_name: `taskledger watch-celery ${process.pid}@${hostname()}` }
  try {
    const connection = await amqplib.connect(where, { timeout: CONNECT_MS, noDelay: true, keepAlive: true, clientProperties })
    connection.on('error', () => {}) // the close that follows says it, too
    return connection
  } catch (error) {
    throw unavailable(address, 'cannot be reached', error)
  }
}

/** Says goodbye, and hangs up on a server that does not answer. */
async function hangUp(connection: Amqplib.ChannelModel): Promise<void> {
  const closed = new AbortController()
  const patience = sleep(CLOSE_MS, undefined, { signal: closed.signal }).catch(() => {})
  await Promise.race([connection.close().catch(() => {}), patience])
  closed.abort()
  const { stream } = connection.connection as { readonly stream?: { destroy(): void } }
  stream?.destroy()
}

function unavailable({ shown }: Address, what: string, cause: unknown): UnavailableError {
  const reason = cause instanceof Error ? cause.message || ('code' in cause ? String(cause.code) : cause.name) : String(cause)
  const hint = 'check that it runs, and the user, the password and the vhost of the URL'
  return new UnavailableError(`RabbitMQ at ${shown} ${what}: ${reason}`, { cause, hint })
}

async function loadAmqplib(): Promise<typeof Amqplib> {
  try {
    return await import('amqplib')
  } catch (cause) {
    if (!(cause instanceof Error && 'code' in cause && /MODULE_NOT_FOUND$/.test(String(cause.code)))) throw cause
    throw new ConfigurationError('a Celery cluster on RabbitMQ is watched with the package amqplib, which is not installed', {
      cause,
      hint: 'npm install amqplib',
    })
  }
}
