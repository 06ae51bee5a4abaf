import type { Broker } from '../broker/broker.js'
import { SqlBroker } from '../broker/sql/sql-broker.js'
import type { Reply } from '../celery/reply.js'
import type { ResultStore } from '../celery/store.js'
import { Database } from '../database/database.js'
import { checkSchema, migrateTo } from '../database/migrate.js'
import { Redaction } from '../ledger/arguments.js'
import { standingsOf } from '../ledger/standing.js'
import { CeleryResults } from '../publish/celery-results.js'
import { Follower } from '../publish/follow.js'
import { Publisher, type PublishHooks } from '../publish/publisher.js'
import { Sender } from '../schedule/sender.js'
import type { Failpoint } from '../task/failpoint.js'
import { checkRoutesToQueues } from '../task/routing.js'
import { openCeleryStore } from './celery-store.js'
import { Lookout } from './lookout.js'
import { readSettings, type SettingSources } from './setting-sources.js'
import type { Settings } from './settings.js'

/** The parts of an app, chosen by its settings and joined. */
export interface Parts {
  readonly settings: Settings
  readonly database: Database
  readonly lookout: Lookout
  readonly broker: Broker
  readonly redaction: Redaction
  readonly publisher: Publisher
  readonly follower: Follower
  readonly sender: Sender
  /** Null: no client of Celery's waits for results, or this program ends no tasks. */
  readonly celeryResults: CeleryResults | null
  readonly now: () => number
  readonly failpoint: Failpoint
}

/** A broker, and how it tells a client of Celery's a result. */
interface Messaging {
  readonly broker: Broker
  /** Null: Celery's clients cannot be reached by it. */
  readonly reply: ((reply: Reply) => Promise<void>) | null
}

/** A broker elsewhere is connected to when it is first used. */
async function openBroker(settings: Settings, database: Database, report: (error: unknown) => void, now: () => number): Promise<Messaging> {
  const { broker: url, prefetchMultiplier, queueArguments } = settings
  if (url === 'sql:') {
    checkRoutesToQueues(settings.routes)
    return { broker: new SqlBroker(database, now), reply: null }
  }
  const { RabbitBroker } = await import('../broker/rabbitmq/rabbitmq-broker.js')
  const broker = new RabbitBroker({ url, prefetchMultiplier, queueArguments }, report, now)
  return { broker, reply: (reply) => broker.reply(reply) }
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
  let messaging: Messaging
  let store: ResultStore | null = null
  try {
    // a database in memory is new each time it is opened
    if (database.passing) await migrateTo(database)
    else await checkSchema(database)
    messaging = await openBroker(settings, database, report, now)
    if (mode === 'write') store = await openCeleryStore(settings, database, messaging.reply)
  } catch (error) {
    await database.close()
    throw error
  }
  const { broker } = messaging
  const publisher = new Publisher(database, broker, redaction, hooks, settings, now, report, failpoint)
  const leaseMs = settings.lease * 1000
  const celeryResults = store && new CeleryResults(database, store, leaseMs, report, now, failpoint)
  const follower = new Follower(publisher, redaction, settings, now, celeryResults)
  const senderSettings = { batch: SEND_BATCH, leaseMs, resultExpires: settings.resultExpires }
  const sender = new Sender(database, publisher, follower, redaction, senderSettings, report, now, failpoint)
  const lookout = new Lookout((taskIds) => standingsOf(database, taskIds))
  return { settings, database, lookout, broker, redaction, publisher, follower, sender, celeryResults, now, failpoint }
}
