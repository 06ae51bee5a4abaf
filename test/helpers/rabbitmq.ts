import { randomBytes } from 'node:crypto'
import { type Channel, type ChannelModel, connect } from 'amqplib'
import type { Settings } from '../../src/lib/app/settings.js'
import { TcpProxy } from './proxy.js'
import { RABBITMQ } from './vhost.js'
import { openWorld, type World } from './world.js'

/** Queues of one test: names that nobody else uses, and a channel of the test's own. `await using` deletes what has such a name. */
export interface Rabbit extends AsyncDisposable {
  readonly connection: ChannelModel
  readonly channel: Channel
  /** The name under which this test knows a queue. */
  queue(name: string): string
  /** How many messages are ready in a queue, and how many programs take from it; null: there is no such queue. */
  count(name: string): Promise<{ readonly ready: number; readonly consumers: number } | null>
  /** The tasks whose messages are ready in a queue, where they stay. */
  look(name: string): Promise<string[]>
}

export async function openRabbit(): Promise<Rabbit> {
  const connection = await connect(RABBITMQ)
  connection.on('error', () => {})
  const channel = await connection.createChannel()
  const prefix = `taskledger-test-${process.pid}-${randomBytes(4).toString('hex')}`
  const names = new Set<string>()
  const queue = (name: string): string => {
    names.add(`${prefix}-${name}`)
    return `${prefix}-${name}`
  }
  return {
    connection,
    channel,
    queue,
    async count(name) {
      const asking = await connection.createChannel()
      asking.on('error', () => {}) // a queue that is not there closes the channel
      const found = await asking.checkQueue(queue(name)).catch(() => null)
      if (!found) return null
      await asking.close()
      return { ready: found.messageCount, consumers: found.consumerCount }
    },
    async look(name) {
      const looking = await connection.createChannel()
      const ids: string[] = []
      for (let got = await looking.get(queue(name)); got; got = await looking.get(queue(name))) ids.push(got.properties.correlationId)
      await looking.close()
      return ids
    },
    async [Symbol.asyncDispose]() {
      const deleting = await connection.createChannel()
      for (const name of names) {
        await deleting.deleteQueue(name)
        await deleting.deleteExchange(name)
      }
      await connection.close()
    },
  }
}

/** A proxy before the server, and the address of the server behind it. */
export async function openProxy(query = ''): Promise<{ readonly proxy: TcpProxy; readonly url: string }> {
  const { hostname, port } = new URL(RABBITMQ)
  const proxy = await TcpProxy.open({ host: hostname, port: Number(port) })
  return { proxy, url: `amqp://guest:guest@127.0.0.1:${proxy.port}${query}` }
}

export interface RabbitWorld extends World {
  readonly rabbit: Rabbit
}

/** A ledger whose messages go through RabbitMQ, on a clock that runs by itself; its default queue is `rabbit.queue('default')`. */
export async function openRabbitWorld(settings: Partial<Settings> = {}): Promise<RabbitWorld> {
  const rabbit = await openRabbit()
  const world = await openWorld({ settings: { broker: RABBITMQ, defaultQueue: rabbit.queue('default'), ...settings }, now: Date.now })
  return {
    ...world,
    rabbit,
    async [Symbol.asyncDispose]() {
      await world[Symbol.asyncDispose]()
      await rabbit[Symbol.asyncDispose]()
    },
  }
}
