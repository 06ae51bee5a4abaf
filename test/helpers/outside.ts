import type { Broker } from '../../src/lib/broker/broker.js'
import { RabbitBroker } from '../../src/lib/broker/rabbitmq/rabbitmq-broker.js'
import { SqlBroker } from '../../src/lib/broker/sql/sql-broker.js'
import { Database } from '../../src/lib/database/database.js'
import { migrateTo } from '../../src/lib/database/migrate.js'
import { Redaction } from '../../src/lib/ledger/arguments.js'
import { Follower } from '../../src/lib/publish/follow.js'
import { Publisher } from '../../src/lib/publish/publisher.js'
import { Sender } from '../../src/lib/schedule/sender.js'
import type { TaskDefinition } from '../../src/lib/task/definition.js'
import { AsyncPool } from '../../src/lib/worker/pool/async-pool.js'
import { Worker } from '../../src/lib/worker/worker.js'

/** Short: for tests that wait for it to run out. */
export const OUTSIDE_LEASE_MS = 300

/** A broker whose messages live in a database of their own: no commit holds a row and its message. */
export class OutsideBroker extends SqlBroker {
  override readonly within = null
}

/** The parts of a program whose broker is not the ledger. */
export interface Outside extends AsyncDisposable {
  readonly database: Database
  readonly broker: Broker
  readonly publisher: Publisher
  readonly follower: Follower
  readonly sender: Sender
  /** What was reported to nobody in particular. */
  readonly errors: unknown[]
  worker(tasks: ReadonlyMap<string, TaskDefinition>): Worker
}

/**
 * @param ledger URL of a migrated database
 * @param messages URL of RabbitMQ, or of a broker's own database, which is made if it is not there
 * @param others verbs of the broker that are to do something else
 */
export async function openOutside(
  ledger: string,
  messages: string,
  others: (broker: Broker) => Partial<Broker> = () => ({}),
  leaseMs = OUTSIDE_LEASE_MS,
): Promise<Outside> {
  const database = await Database.open(ledger, 'write')
  const errors: unknown[] = []
  const report = (error: unknown) => errors.push(error)
  const real = messages.startsWith('amqp:') ? rabbit(messages, report) : await ownDatabase(messages)
  const broker: Broker = Object.assign(Object.create(real), others(real))
  const redaction = new Redaction([])
  const hooks = { beforePublish: [], afterPublish: [] }
  const publisher = new Publisher(database, broker, redaction, hooks, { trackPublish: true, scheduleEta: true }, Date.now, report)
  const follower = new Follower(publisher, redaction, { defaultQueue: 'default', routes: {}, resultExpires: null }, Date.now)
  const settings = { batch: 10, leaseMs, resultExpires: null }
  const own = { ...settings, queues: ['default'], concurrency: 2, maxDeliveries: 5, shutdownMs: 30_000 }
  const pool = new AsyncPool({ forceJson: false, now: Date.now, random: Math.random })
  return {
    database,
    broker,
    publisher,
    follower,
    errors,
    sender: new Sender(database, publisher, follower, redaction, settings, report, Date.now),
    worker: (tasks) => new Worker(database, broker, redaction, follower, tasks, pool, own, () => {}, report, Date.now),
    async [Symbol.asyncDispose]() {
      await database.close()
      await broker.close()
    },
  }
}

const rabbit = (url: string, report: (error: unknown) => void): Broker =>
  new RabbitBroker({ url, prefetchMultiplier: 4, queueArguments: {} }, report)

async function ownDatabase(url: string): Promise<Broker> {
  const database = await Database.open(url, 'create')
  await migrateTo(database)
  return Object.assign(new OutsideBroker(database), { close: () => database.close() })
}
