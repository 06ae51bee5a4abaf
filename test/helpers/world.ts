import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { App } from '../../src/lib/app/app.js'
import type { Parts } from '../../src/lib/app/parts.js'
import type { Settings } from '../../src/lib/app/settings.js'
import type { Broker } from '../../src/lib/broker/broker.js'
import type { Database } from '../../src/lib/database/database.js'
import type { Failpoint } from '../../src/lib/task/failpoint.js'
import type { Carrier } from './brokers.js'
import { current, type Databases } from './databases.js'

/** When every world begins, unless it is given another clock. */
export const DAWN = Date.UTC(2026, 10, 20, 12)

export interface Clock {
  now(): number
  /** Moves the time on, and tells it. */
  advance(ms: number): number
}

/** An app on a ledger, and the parts it is made of. */
export interface Member extends Omit<Parts, 'now'> {
  readonly app: App
  /** What the app reported to nobody in particular. */
  readonly errors: unknown[]
}

/** A ledger in a folder of its own. `await using` closes and removes it, however the test ends. */
export interface World extends Member, AsyncDisposable {
  readonly folder: string
  readonly url: string
  /** Has a program work in it: the address of its ledger, and that of its broker. */
  readonly env: Readonly<Record<string, string>>
  /** What carries its messages; null: the ledger. */
  readonly carrier: Carrier | null
  readonly clock: Clock
  /** A second program on the same ledger: a connection of its own, the same clock. */
  join(settings?: Partial<Settings>): Promise<Member>
}

export interface WorldOptions {
  readonly settings?: Partial<Settings>
  /** A clock that runs by itself. Default: one that stands still at DAWN; `advance` moves either. */
  readonly now?: () => number
  /** What its ledger is in. Default: SQLite, or what the suite is run on. */
  readonly databases?: Databases
  /** Told of the failpoints that every program of the world reaches. */
  readonly failpoint?: Failpoint
}

/** A migrated ledger, with broker, publisher, sender and app joined as a program joins them. */
export async function openWorld({
  settings = {},
  now = () => DAWN,
  failpoint,
  databases = current().ledger,
}: WorldOptions = {}): Promise<World> {
  const folder = await mkdtemp(join(tmpdir(), 'taskledger-test-'))
  const { url, remove } = await databases.make(folder)
  const carrier = await current().broker.make()
  const apps: App[] = []
  const brokers: Broker[] = []
  const close = async (queues: readonly string[] = []) => {
    for (const app of apps) await app.close()
    await remove()
    await carrier?.remove(brokers, queues)
    await rm(folder, { recursive: true, force: true })
  }
  let moved = 0
  const clock: Clock = {
    now: () => now() + moved,
    advance: (ms) => {
      moved += ms
      return clock.now()
    },
  }
  const make = (own: Partial<Settings>): App => {
    const app = new App(
      { code: { database: url, ...(carrier && { broker: carrier.url }), ...own }, env: {}, cwd: folder },
      'write',
      clock.now,
      failpoint,
    )
    apps.push(app)
    return app
  }
  const open = async (app: App): Promise<Member> => {
    const errors: unknown[] = []
    app.on('error', (error) => {
      errors.push(error)
    })
    const parts = await app['parts']()
    brokers.push(parts.broker)
    return { ...parts, app, errors }
  }
  try {
    const app = make(settings)
    await app.migrate()
    const joinLedger = async (own = settings) => open(make(own))
    const env = { TASKLEDGER_DATABASE: url, ...(carrier && { TASKLEDGER_BROKER: carrier.url }) }
    const own = await open(app)
    const dispose = async () => close(carrier ? await queuesIn(own.database) : [])
    return { ...own, folder, url, env, carrier, clock, join: joinLedger, [Symbol.asyncDispose]: dispose }
  } catch (error) {
    await close()
    throw error
  }
}

/** None where the ledger is closed, or broken, by then: that is what its test is about. */
async function queuesIn(database: Database): Promise<string[]> {
  const rows = await database.all<{ queue: string }>("SELECT DISTINCT queue FROM task_result WHERE queue <> ''", []).catch(() => [])
  return rows.map(({ queue }) => queue)
}
