import { appendFileSync } from 'node:fs'
import { App } from '../../src/lib/app/app.js'
import type { Settings } from '../../src/lib/app/settings.js'
import { chain, chord } from '../../src/lib/canvas/compose.js'
import { Database } from '../../src/lib/database/database.js'
import { Follower } from '../../src/lib/publish/follow.js'
import { Publisher } from '../../src/lib/publish/publisher.js'
import { Sender } from '../../src/lib/schedule/sender.js'
import type { TaskContext } from '../../src/lib/task/definition.js'
import { type Failpoint, type FailpointName, NO_FAILPOINT } from '../../src/lib/task/failpoint.js'
import type { Canvas } from '../../src/lib/task/signature.js'
import { OutsideBroker } from './outside.js'
import { sig } from './workflows.js'

/** Seconds. */
export const LEASE = 0.5

/** What happens to the task that a case is about. */
export type Kind =
  | 'early'
  | 'late'
  /** Early-ack, and started by itself, not with what is claimed at one time. */
  | 'limited'
  | 'retrying'
  | 'scheduled'
  | 'expired'
  | 'held'
  | 'lost'
  | 'revoked'
  | 'finished'
  /** Followed by a next step. */
  | 'chained'
  /** Alone in the header of a chord. */
  | 'chord'
  /** Fails, and has an errback. */
  | 'erring'
  /** In the header of a chord with a deadline, and nobody serves its queue. */
  | 'waiting'

/** What a program does when it is interrupted. */
export type Work = 'publish' | 'work' | 'send' | 'stop' | 'revoke' | 'purge'

export const FAULTS = ['kill', 'throw', 'stop'] as const
export type Fault = (typeof FAULTS)[number]

export interface Place {
  /** URL of a migrated database. */
  readonly ledger: string
  /** URL of a broker's own database, migrated, or of RabbitMQ; null: the embedded broker. */
  readonly messages: string | null
  /** Where tasks go that name no queue. Default: `default`. */
  readonly queue?: string
  /** Takes a line for each body that ran. */
  readonly file: string
  /** Where Celery's clients look for results. Default: nowhere. */
  readonly celeryResults?: string
}

/** What the program is to do, and where it is interrupted. */
export interface Job extends Place {
  readonly point: FailpointName
  readonly fault: Fault
  readonly kind: Kind
  readonly work: Work
  readonly id: string
}

/** The id of what follows the task, and of the errback of that. */
export const nextOf = (id: string): string => `${id}-next`
export const errbackOf = (id: string): string => `${id}-errback`

/** The workflow that the task begins; null: it is a task by itself. */
export function workflowOf(kind: Kind, id: string): Canvas | null {
  const own = { taskId: id, priority: 9 }
  const next = sig('early', [], { taskId: nextOf(id) })
  switch (kind) {
    case 'chained':
      return chain([sig('late', [], { ...own, acksLate: true }), next])
    case 'lost':
      return chain([sig('lost', [], own), next])
    case 'revoked':
      return chain([sig('early', [], own), next])
    case 'expired':
      return chain([sig('early', [], { ...own, expires: 0.02 }), next])
    case 'chord':
      return chord([sig('early', [], own)], next)
    case 'erring':
      return sig('boom', [], { ...own, linkError: [next] })
    case 'waiting': {
      const linkError = [sig('early', [], { taskId: errbackOf(id) })]
      return chord([sig('early', [], { ...own, queue: 'of nobody' })], sig('early', [], { taskId: nextOf(id), linkError }))
    }
    default:
      return null
  }
}

class FarBroker extends OutsideBroker {
  constructor(private readonly own: Database) {
    super(own)
  }

  override close(): Promise<void> {
    return this.own.close()
  }
}

export interface Program {
  readonly app: App
  /** Where the broker keeps its messages; with RabbitMQ, which shows them itself, the ledger. */
  readonly messages: Database
}

/** An app with the tasks of the matrix, on a broker that is the ledger or is not. */
export async function openProgram(
  place: Place,
  lease: number,
  report: (error: unknown) => void,
  failpoint: Failpoint = NO_FAILPOINT,
): Promise<Program> {
  const app = new App({ code: { ...settingsOf(place), lease, concurrency: 1 }, env: {} }, 'write', Date.now, failpoint)
  app.on('error', report)
  declareTasks(app, place.file)
  const parts = await app['parts']()
  const { database, redaction, settings } = parts
  if (place.messages === null || isRabbit(place.messages)) return { app, messages: database }
  const messages = await Database.open(place.messages, 'write')
  const broker = new FarBroker(messages)
  const hooks = { beforePublish: [], afterPublish: [] }
  const publisher = new Publisher(database, broker, redaction, hooks, settings, Date.now, report, failpoint)
  const follower = new Follower(publisher, redaction, settings, Date.now, parts.celeryResults)
  const sender = new Sender(
    database,
    publisher,
    follower,
    redaction,
    { batch: 10, leaseMs: lease * 1000, resultExpires: null },
    report,
    Date.now,
    failpoint,
  )
  app['opened'] = Promise.resolve({ ...parts, broker, publisher, follower, sender })
  return { app, messages }
}

const isRabbit = (url: string): boolean => url.startsWith('amqp:')

function settingsOf({ ledger, messages, queue = 'default', celeryResults }: Place): Partial<Settings> {
  const own = { database: ledger, defaultQueue: queue, ...(celeryResults ? { celeryResults } : {}) }
  if (messages === null || !isRabbit(messages)) return own
  return { ...own, broker: messages, queueArguments: { [queue]: { 'x-max-priority': 10 } } } // as the embedded broker's queues have
}

function declareTasks(app: App, file: string): void {
  const note = ({ request: { id, retries } }: TaskContext) => appendFileSync(file, `${id} ${retries} ${Date.now()}\n`)
  app.task({ name: 'early', bind: true }, note)
  app.task({ name: 'late', bind: true, acksLate: true }, note)
  app.task({ name: 'limited', bind: true, rateLimit: '1000/s' }, note)
  app.task({ name: 'boom', bind: true }, (task) => {
    note(task)
    throw new RangeError('boom')
  })
  app.task({ name: 'retrying', bind: true }, (task) => {
    note(task)
    if (task.request.retries === 0) task.retry({ countdown: 0 })
  })
  app.task({ name: 'lost', bind: true, onWorkerLost: 'retry' }, note)
  app.task({ name: 'held', bind: true, acksLate: true }, async (task) => {
    note(task)
    if (task.request.deliveries > 1) return
    await new Promise((resolve) => task.signal.addEventListener('abort', resolve, { once: true }))
  })
}
