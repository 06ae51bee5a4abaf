import { setTimeout as sleep } from 'node:timers/promises'
import { RabbitBroker } from '../../../src/lib/broker/rabbitmq/rabbitmq-broker.js'
import { openRabbit, type Rabbit } from '../../helpers/rabbitmq.js'
import { renamed } from '../../helpers/renamed.js'
import { needs } from '../../helpers/services.js'
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
})
