import type { Json } from '../../src/lib/task/json.js'
import { type Answer, CeleryClient, type Handle, messageFrom, type Published } from './celery-client.js'
import { type Working, working } from './working.js'
import { openWorld, type World } from './world.js'

/** A database of Redis that no other test uses. What is stored there is gone after a minute. */
export const REDIS = 'redis://127.0.0.1:6379/7'
export const KEPT = 60

/** A Node worker whose tasks a client of Celery's calls. */
export interface CeleryStage extends World {
  readonly client: CeleryClient
  /** What the bodies of `note` were called with. */
  readonly noted: Json[][]
  /** Brings the worker what the client has published. */
  take(...published: readonly Published[]): Promise<void>
  /** The client calls tasks, and the worker is brought what that publishes. */
  call(expression: string): Promise<Handle>
  /** A Python worker ends one of the tasks that the client has published; the Node worker is brought what that publishes. */
  runInPython(message: Published, how: { readonly value: Json } | { readonly error: string }): Promise<Answer>
  /** Ends of which Celery's clients are still to be told. */
  untold(): Promise<string[]>
  work(): Working
}

/** @param celeryResults the setting; of Redis the client knows it as its result backend, of Django by the file that both share */
export async function openCeleryStage(celeryResults: string): Promise<CeleryStage> {
  const world = await openWorld({ now: Date.now })
  const client = CeleryClient.open(celeryResults === 'django' ? `django:${world.database.name}` : celeryResults)
  if (celeryResults === 'django') await client.ask({ do: 'migrate' })
  const member = await world.join({ celeryResults, resultExpires: KEPT, lease: 1 })
  const noted: Json[][] = []
  const { app, database, broker } = member
  const add = app.task('add', (x: number, y: number) => x + y)
  app.task('tsum', (numbers: number[]) => numbers.reduce((sum, n) => sum + n, 0))
  app.task('fail', (message: string) => {
    throw Object.assign(new Error(message), { name: 'ValueError' })
  })
  app.task('out_of_range', () => {
    throw new RangeError('bad len')
  })
  app.task('echo', (value: Json) => value)
  app.task('note', (...args: Json[]) => {
    noted.push(args)
  })
  app.task({ name: 'again', bind: true, defaultRetryDelay: 0, retryJitter: false }, (task) => {
    if (task.request.retries === 0) throw task.retry({ error: new TypeError('not yet'), countdown: 0.3 })
    return task.request.retries
  })
  app.task({ name: 'instead', bind: true }, (task, x: number) => task.replace(add.s(x, 100)))
  const take = async (...published: readonly Published[]) => broker.publish(published.map((one) => messageFrom(one, world.clock.now())))
  return {
    ...world,
    ...member,
    client,
    noted,
    take,
    async call(expression) {
      const handle = await client.send(expression)
      await take(...handle.messages)
      return handle
    },
    async runInPython(message, how) {
      const answer = await client.ask({ do: 'run', message: message as unknown as Json, ...how })
      await take(...answer.messages)
      return answer
    },
    async untold() {
      const rows = await database.all<{ task_id: string }>('SELECT task_id FROM celery_outbox', [])
      return rows.map((row) => row.task_id)
    },
    work: () => working(app),
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]()
      await world[Symbol.asyncDispose]()
    },
  }
}
