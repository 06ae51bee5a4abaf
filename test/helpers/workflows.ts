import type { Broker } from '../../src/lib/broker/broker.js'
import { RabbitBroker } from '../../src/lib/broker/rabbitmq/rabbitmq-broker.js'
import { freeze, resultId, tasksOf } from '../../src/lib/canvas/freeze.js'
import { begin, type SendContext } from '../../src/lib/canvas/launch.js'
import { Database } from '../../src/lib/database/database.js'
import { migrateTo } from '../../src/lib/database/migrate.js'
import { findTask } from '../../src/lib/ledger/find.js'
import type { TaskRow } from '../../src/lib/ledger/row.js'
import { Follower } from '../../src/lib/publish/follow.js'
import { Publisher, type PublishTerms } from '../../src/lib/publish/publisher.js'
import { Sender } from '../../src/lib/schedule/sender.js'
import { newTaskId } from '../../src/lib/task/id.js'
import type { Json } from '../../src/lib/task/json.js'
import type { Canvas, SignatureOptions, TaskSignature } from '../../src/lib/task/signature.js'
import { OutsideBroker } from './outside.js'
import { openRabbit } from './rabbitmq.js'
import { renamed } from './renamed.js'
import { needs } from './services.js'
import { until } from './until.js'
import { RABBITMQ } from './vhost.js'
import { openWorld, type World, type WorldOptions } from './world.js'

export const BROKERS = ['embedded', 'outside'] as const

/** Those, and a server that has to be there. */
export const SERVED = [...BROKERS, 'RabbitMQ'] as const
export type BrokerName = (typeof SERVED)[number]

/** For the top of a suite that is run with each of {@link SERVED}. */
export function needsServer(broker: BrokerName): void {
  if (broker !== 'RabbitMQ') return
  before(function () {
    return needs(this, broker)
  })
}

/** A call as data. */
export const sig = (task: string, args: readonly Json[] = [], options: SignatureOptions = {}): TaskSignature => ({
  kind: 'task',
  task,
  args,
  kwargs: {},
  options,
  immutable: false,
})

/** A call that takes nothing from elsewhere. */
export const si = (task: string, args: readonly Json[] = [], options: SignatureOptions = {}): TaskSignature => ({
  ...sig(task, args, options),
  immutable: true,
})

/** The ids of every task of a frozen workflow, in its order. */
export const idsOf = (canvas: Canvas): string[] => tasksOf(canvas).map(({ options }) => options.taskId ?? '')

/** The id of the task or group whose result is that of the whole. */
export const answerOf = (canvas: Canvas): string => resultId(canvas) ?? ''

/** A world in which workflows are sent. */
export interface Stage extends World {
  /** Where a broker that is no server keeps its messages. */
  readonly messages: Database
  /** Sends a workflow as a caller outside any task does; `canvas` is returned as it was frozen. */
  send(canvas: Canvas, how?: Partial<SendContext> & { readonly terms?: PublishTerms }): Promise<Canvas>
  row(taskId: string): Promise<TaskRow>
  /** Waits until each of these has a row, and has ended. */
  ended(...taskIds: readonly string[]): Promise<TaskRow[]>
  /** The statuses of these tasks, `none` for one without a row. */
  statuses(...taskIds: readonly string[]): Promise<string[]>
  /** Whether a message of this task waits in the default queue, where a server lets nobody look while somebody takes from it. */
  isWaiting(taskId: string): Promise<boolean>
}

export interface StageOptions extends WorldOptions {
  readonly broker?: BrokerName
}

/** A world whose clock runs by itself unless it is given another, on a broker that is the ledger or is not. */
export async function openStage({ broker = 'embedded', ...options }: StageOptions = {}): Promise<Stage> {
  const world = await openWorld({ now: Date.now, ...options, settings: { ...(broker === 'RabbitMQ' ? QUICK : {}), ...options.settings } })
  const server = broker === 'embedded' ? null : await (broker === 'outside' ? ownMessages(world) : rabbitMessages(world))
  const far = server && (await farParts(world, server.broker))
  const w = { ...world, messages: server?.messages ?? world.database, ...far }
  const { database, publisher, clock, settings } = w
  const row = async (taskId: string) => {
    const found = await findTask(database, taskId)
    if (!found) throw new Error(`no row ${taskId}`)
    return found
  }
  return {
    ...w,
    row,
    async send(canvas, { terms = {}, ...how } = {}) {
      const now = clock.now()
      const newId = () => newTaskId()
      const frozen = freeze(canvas, newId)
      const context = { rootId: null, parentId: null, deadline: null, now, newId, defaultQueue: settings.defaultQueue, routes: {}, ...how }
      await publisher.publishCanvas(begin(frozen, [], context), terms)
      return frozen
    },
    ended: (...taskIds) =>
      until(
        async () => {
          const rows = await Promise.all(taskIds.map((id) => findTask(database, id)))
          const ended = rows.filter((one): one is TaskRow => one !== null && one.finishedAt !== null)
          return ended.length === rows.length && ended
        },
        `${taskIds.join(', ')} to end`,
      ),
    isWaiting: async (taskId) => (server ? server.isWaiting(taskId) : (await w.broker.has(taskId)) === true),
    statuses: (...taskIds) => Promise.all(taskIds.map(async (id) => (await findTask(database, id))?.status ?? 'none')),
    async [Symbol.asyncDispose]() {
      await world[Symbol.asyncDispose]()
      await server?.close()
    },
  }
}

/** RabbitMQ itself drops what has expired, and a sender looks for that once a lease. */
const QUICK = { lease: 3 }

/** A broker, and what is to be done once the world that uses it has gone. */
interface Server {
  readonly broker: Broker
  /** Where it keeps its messages, when that is a database. */
  readonly messages?: Database
  isWaiting(taskId: string): Promise<boolean>
  close(): Promise<void>
}

async function ownMessages({ folder, clock }: World): Promise<Server> {
  const messages = await Database.open(`sqlite:${folder}/messages.db`, 'create')
  await migrateTo(messages)
  const broker = new OutsideBroker(messages, clock.now)
  return { broker, messages, isWaiting: (taskId) => broker.has(taskId), close: () => messages.close() }
}

async function rabbitMessages({ settings, clock, errors }: World): Promise<Server> {
  const rabbit = await openRabbit()
  const report = (error: unknown) => {
    errors.push(error)
  }
  const broker = new RabbitBroker({ ...settings, url: RABBITMQ }, report, clock.now)
  return {
    broker: renamed(broker, rabbit.queue),
    isWaiting: async (taskId) => (await rabbit.look('default')).includes(taskId),
    close: async () => rabbit[Symbol.asyncDispose](),
  }
}

/** Has the world's app work with a broker elsewhere. */
async function farParts({ app, database, redaction, settings, clock, errors, failpoint }: World, broker: Broker) {
  const report = (error: unknown) => {
    errors.push(error)
  }
  const hooks = { beforePublish: [], afterPublish: [] }
  const publisher = new Publisher(database, broker, redaction, hooks, settings, clock.now, report, failpoint)
  const follower = new Follower(publisher, redaction, settings, clock.now)
  const own = { batch: 100, leaseMs: settings.lease * 1000, resultExpires: settings.resultExpires }
  const sender = new Sender(database, publisher, follower, redaction, own, report, clock.now, failpoint)
  const parts = { broker, publisher, follower, sender }
  app['opened'] = Promise.resolve({ ...(await app['parts']()), ...parts })
  return parts
}
