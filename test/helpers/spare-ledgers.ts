import { randomBytes } from 'node:crypto'
import { Database } from '../../src/lib/database/database.js'
import { migrateTo } from '../../src/lib/database/migrate.js'

/** A server's words for a place that holds one ledger: a schema, or a database. */
interface Server {
  urlOf(name: string): string
  make(name: string): Promise<unknown>
  /** All that is in it, in words; its rows aside. */
  contents(name: string): Promise<string>
  /** Takes the rows out of a ledger. */
  empty(name: string): Promise<void>
  drop(name: string): Promise<unknown>
}

/** The tables of a ledger, and those whose rows are numbered. */
export const TABLES = [
  'task_result',
  'task_attempt',
  'task_message',
  'task_rate',
  'task_worker',
  'task_group',
  'task_group_member',
  'celery_outbox',
] as const
export const NUMBERED = ['task_result', 'task_attempt', 'task_message'] as const

/** Empty ledgers on a server: one that was used is quicker to be had than a new one. */
export class SpareLedgers {
  private readonly free: string[] = []
  private readonly made = new Set<string>()
  private expected: string | null = null

  constructor(private readonly server: Server) {}

  /** The name of a place with an empty ledger in it. */
  async take(): Promise<string> {
    const known = this.free.pop()
    if (known !== undefined) return known
    const name = await this.make()
    const database = await Database.open(this.server.urlOf(name), 'create')
    try {
      await migrateTo(database)
    } finally {
      await database.close()
    }
    this.expected ??= await this.server.contents(name)
    return name
  }

  /** The name of a place with nothing in it. */
  async make(): Promise<string> {
    const name = `world_${randomBytes(6).toString('hex')}`
    await this.server.make(name)
    this.made.add(name)
    return name
  }

  /** Empties it for another test; one that is no longer a ledger and nothing else is dropped. */
  async give(name: string): Promise<void> {
    if ((await this.server.contents(name).catch(() => null)) !== this.expected) return this.drop(name)
    await this.server.empty(name)
    this.free.push(name)
  }

  async dropAll(): Promise<void> {
    this.free.length = 0
    for (const name of this.made) await this.drop(name)
  }

  private async drop(name: string): Promise<void> {
    this.made.delete(name)
    await this.server.drop(name)
  }
}
