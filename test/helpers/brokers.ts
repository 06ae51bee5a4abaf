import { connect } from 'amqplib'
import type { Broker } from '../../src/lib/broker/broker.js'
import { RabbitBroker } from '../../src/lib/broker/rabbitmq/rabbitmq-broker.js'
import { serviceSuite } from './services.js'
import { openVhost, RABBITMQ, type Vhost } from './vhost.js'

/** What carries the messages of a world that its ledger does not carry. */
export interface Carrier {
  readonly url: string
  /** How many messages it has, those in the hands of workers too. */
  count(): Promise<number>
  /** How many wait for workers, in this queue or in all that were used. */
  countReady(used: readonly Broker[], queue?: string): Promise<number>
  /** The tasks whose messages wait in this queue, where they stay. Nobody is to take from it meanwhile. */
  look(queue: string): Promise<string[]>
  /** Closes every connection, as an operator does: what workers hold is handed out anew. */
  closeConnections(): Promise<void>
  /**
   * @param used by those who were at work in the world
   * @param queues that others, in processes of their own, may have used
   */
  remove(used: readonly Broker[], queues: readonly string[]): Promise<void>
}

/** A kind of broker that worlds have. */
export interface Brokers<Name extends string = string> {
  readonly name: Name
  /** Null: the ledger carries the messages. */
  make(): Promise<Carrier | null>
}

export const EMBEDDED: Brokers<'sql:'> = { name: 'sql:', make: async () => null }

/** A vhost that no other world has meanwhile. */
export const RABBIT: Brokers<'RabbitMQ'> = {
  name: 'RabbitMQ',
  async make() {
    const vhost = free.pop() ?? (await newVhost())
    return {
      url: vhost.url,
      count: vhost.messages,
      countReady: (used, queue) => countReady(vhost.url, queue === undefined ? queuesOf(used) : [queue]),
      look: (queue) => look(vhost.url, queue),
      closeConnections: vhost.closeConnections,
      async remove(used, queues) {
        await deleteQueues(vhost.url, [...new Set([...queuesOf(used), ...queues])])
        free.push(vhost)
      },
    }
  },
}

/** Vhosts with nothing in them: a new one takes a second. */
const free: Vhost[] = []
const made: Vhost[] = []

async function newVhost(): Promise<Vhost> {
  const vhost = await openVhost()
  made.push(vhost)
  return vhost
}

/** AMQP does not say which queues there are. */
function declaredBy(broker: Broker): string[] {
  if (!(broker instanceof RabbitBroker)) return []
  const known = [broker['inbox']['queues'], broker['outbox']['queues']].flatMap((queues) => [...queues['declared'].keys()])
  return known.filter((what) => what.startsWith('queue ')).map((what) => what.slice('queue '.length))
}

const queuesOf = (used: readonly Broker[]): readonly string[] => [...new Set(['default', ...used.flatMap(declaredBy)])]

async function countReady(url: string, names: readonly string[]): Promise<number> {
  const connection = await connect(url)
  let ready = 0
  for (const name of names) {
    const channel = await connection.createChannel()
    channel.on('error', () => {}) // a queue that is not there closes the channel
    ready += (await channel.checkQueue(name).catch(() => null))?.messageCount ?? 0
  }
  await connection.close()
  return ready
}

async function look(url: string, queue: string): Promise<string[]> {
  const connection = await connect(url)
  const channel = await connection.createChannel()
  const ids: string[] = []
  channel.on('error', () => {}) // a queue that is not there closes the channel
  if (!(await channel.checkQueue(queue).catch(() => null))) {
    await connection.close()
    return ids
  }
  for (let got = await channel.get(queue); got; got = await channel.get(queue)) ids.push(got.properties.correlationId)
  await connection.close() // what is not acked goes back to its place
  return ids
}

async function deleteQueues(url: string, names: readonly string[]): Promise<void> {
  const connection = await connect(url)
  const channel = await connection.createChannel()
  for (const name of names) {
    await channel.deleteQueue(name)
    await channel.deleteExchange(name)
  }
  await connection.close()
}

/** A suite that needs a RabbitMQ server, and the right to make vhosts there. */
export function rabbitSuite(suite: (this: Mocha.Suite) => void): void {
  serviceSuite(
    'RabbitMQ',
    async () => {
      await (await connect(RABBITMQ)).close()
      free.push(await newVhost())
    },
    function () {
      suite.call(this)
      after(async function () {
        this.timeout(120_000)
        free.length = 0
        for (const vhost of made.splice(0)) {
          const left = await vhost.messages()
          await vhost[Symbol.asyncDispose]()
          if (left > 0) throw new Error(`${left} messages were left in queues that no world knew of`)
        }
      })
    },
  )
}
