import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Delivery } from '../../../src/lib/broker/broker.js'
import { RabbitBroker } from '../../../src/lib/broker/rabbitmq/rabbitmq-broker.js'
import { openRabbit, type Rabbit } from '../../helpers/rabbitmq.js'
import { renamed } from '../../helpers/renamed.js'
import { aMessage } from '../../helpers/rows.js'
import { needs } from '../../helpers/services.js'
import { until } from '../../helpers/until.js'
import { RABBITMQ } from '../../helpers/vhost.js'
import { DAWN } from '../../helpers/world.js'
import { type BrokerWorld, brokerConformance, LEASE_MS } from '../conformance.js'

/** Two looks at leases that have run out, and a little. */
const NOTICED_MS = LEASE_MS * 0.75

const ABILITIES = { counts: false, finds: false, holds: false, pulls: false }

async function openBrokerWorld(prioritises: boolean): Promise<BrokerWorld> {
  const rabbit: Rabbit = await openRabbit()
  const opened: RabbitBroker[] = []
  let now = DAWN
  return {
    now: () => now,
    pass: async (ms) => {
      now += ms
      await sleep(NOTICED_MS)
    },
    connect: async () => {
      const queueArguments = prioritises ? { [rabbit.queue('default')]: { 'x-max-priority': 10 } } : {}
      const report = (error: unknown) => console.error(error)
      const broker = new RabbitBroker({ url: RABBITMQ, prefetchMultiplier: 4, queueArguments }, report, () => now)
      opened.push(broker)
      return renamed(broker, rabbit.queue)
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(opened.map((broker) => broker.close()))
      await rabbit[Symbol.asyncDispose]()
    },
  }
}

describe('a broker elsewhere', () => {
  before(function () {
    return needs(this, 'RabbitMQ')
  })

  brokerConformance('RabbitMQ', { ...ABILITIES, prioritises: false }, () => openBrokerWorld(false))
  brokerConformance('RabbitMQ with priorities', { ...ABILITIES, prioritises: true }, () => openBrokerWorld(true))

  it('is told of several acks together, and keeps the messages between them that others still hold', async () => {
    await using w = await openBrokerWorld(false)
    const broker = await w.connect()
    await broker.publish(['a', 'b', 'c', 'd'].map((id) => aMessage({ id })))
    const taken: Delivery[] = []
    await until(async () => taken.push(...(await broker.receive(['default'], 4, LEASE_MS))) === 4, 'four messages')
    const acked = taken.filter(({ message }) => message.id !== 'c')
    assert.deepEqual(await Promise.all(acked.map((one) => broker.ack(one))), [true, true, true])
    await broker.leave(['default']) // its answer comes after the acks were heard
    await broker.close()

    const next = await w.connect()
    const back = await until(
      async () => (await next.receive(['default'], 4, LEASE_MS)).map(({ message }) => message.id).join(),
      'a message',
    )
    assert.equal(back, 'c')
  })
})
