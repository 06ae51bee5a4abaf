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

export const OUTSIDE_LEASE_MS = 300

/** A broker whose messages live in a database of their own: no commit holds a row and its message. */
export class OutsideBroker extends SqlBroker {
  override readonly within = null
}

/** The parts of a program whose broker is not the ledger. */
export interface Outside extends AsyncDisposable {
  readonly database: Database
  readonly broker: SqlBroker
  readonly publisher: Publisher
  readonly follower: Follower
  readonly sender: Sender
  /** What was reported to nobody in particular. */
  readonly errors: unknown[]
  worker(tasks: ReadonlyMap<string, TaskDefinition>): Worker
}

/**
 * @param ledger URL of a migrated database
 * @param messages URL of the broker's own, which is made if it is not there
 */
export async function openOutside(
  ledger: string,
  messages: string,
  open: (database: Database) => SqlBroker = (database) => new OutsideBroker(database),
): Promise<Outside> {
  const database = await Database.open(ledger, 'write')
  const outside = await Database.open(messages, 'create')
  await migrateTo(outside)
  const broker = open(outside)
  const redaction = new Redaction([])
  const errors: unknown[] = []
  const report = (error: unknown) => errors.push(error)
  const hooks = { beforePublish: [], afterPublish: [] }
  const publisher = new Publisher(database, broker, redaction, hooks, { trackPublish: true, scheduleEta: true }, Date.now, report)
  const follower = new Follower(publisher, redaction, { defaultQueue: 'default', routes: {}, resultExpires: null }, Date.now)
  const settings = { batch: 10, leaseMs: OUTSIDE_LEASE_MS, resultExpires: null }
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
      await outside.close()
    },
  }
}
