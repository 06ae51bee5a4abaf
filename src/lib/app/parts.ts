import type { Broker } from '../broker/broker.js'
import { SqlBroker } from '../broker/sql/sql-broker.js'
import { Database } from '../database/database.js'
import { checkSchema, migrateTo } from '../database/migrate.js'
import { Redaction } from '../ledger/arguments.js'
import { Follower } from '../publish/follow.js'
import { Publisher, type PublishHooks } from '../publish/publisher.js'
import { Sender } from '../schedule/sender.js'
import type { Failpoint } from '../task/failpoint.js'
import { readSettings, type SettingSources, type Settings } from './settings.js'

/** The parts of an app, chosen by its settings and joined. */
export interface Parts {
  readonly settings: Settings
  readonly database: Database
  readonly broker: Broker
  readonly redaction: Redaction
  readonly publisher: Publisher
  readonly follower: Follower
  readonly sender: Sender
  readonly now: () => number
  readonly failpoint: Failpoint
}

/** A broker elsewhere is connected to when it is first used. */
async function openBroker(settings: Settings, database: Database, report: (error: unknown) => void, now: () => number): Promise<Broker> {
  const { broker: url, prefetchMultiplier, queueArguments } = settings
  if (url === 'sql:') return new SqlBroker(database, now)
  const { RabbitBroker } = await import('../broker/rabbitmq/rabbitmq-broker.js')
  return new RabbitBroker({ url, prefetchMultiplier, queueArguments }, report, now)
}

/** Rows a sender claims in one commit. */
const SEND_BATCH = 100

/** @param mode `read` for a program that only looks: it then cannot change or create anything */
export async function openParts(
  sources: SettingSources,
  mode: 'read' | 'write',
  hooks: PublishHooks,
  report: (error: unknown) => void,
  now: () => number,
  failpoint: Failpoint,
): Promise<Parts> {
  const settings = await readSettings(sources)
  const redaction = new Redaction(settings.redact)
  const database = await Database.open(settings.database, mode, sources.cwd)
  try {
    // a database in memory is new each time it is opened
    if (database.passing) await migrateTo(database)
    else await checkSchema(database)
  } catch (error) {
    await database.close()
    throw error
  }
  const broker = await openBroker(settings, database, report, now)
  const publisher = new Publisher(database, broker, redaction, hooks, settings, now, report, failpoint)
  const follower = new Follower(publisher, redaction, settings, now)
  const senderSettings = { batch: SEND_BATCH, leaseMs: settings.lease * 1000, resultExpires: settings.resultExpires }
  const sender = new Sender(database, publisher, follower, redaction, senderSettings, report, now, failpoint)
  return { settings, database, broker, redaction, publisher, follower, sender, now, failpoint }
}
