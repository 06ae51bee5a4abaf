import type { Knex } from 'knex'
import type { Dialect } from './dialect.js'
import type { Engine, Mode, Work } from './engine.js'
import { CommitUnknownError } from './failure.js'
import { MysqlEngine } from './mysql.js'
import { PostgresEngine } from './postgres.js'
import type { Binding, Sql } from './sql.js'
import { SqliteEngine } from './sqlite.js'
import { type DatabaseUrl, parseDatabaseUrl } from './url.js'

interface Waiting {
  readonly work: Work<unknown>
  readonly order: string | null
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
}

/** Bounds how long one commit keeps other processes from writing. */
const MAX_GROUP = 500

/**
 * The one door to the ledger's database. As a `Sql` it runs single statements, each its own commit; `write`
 * gathers what this process writes at one time into one commit.
 */
export class Database implements Sql {
  private waiting: Waiting[] = []
  private draining: Promise<void> | null = null

  private constructor(private readonly engine: Engine) {}

  /**
   * @param mode `read` and `write` refuse a file that is not there; `create` makes it
   * @throws {ConfigurationError} when the URL, the file or its rights are wrong, or a server refuses this user or has no such database
   * @throws {UnavailableError} when a server cannot be reached
   */
  static async open(url: string, mode: Mode, cwd = process.cwd()): Promise<Database> {
    const parsed = parseDatabaseUrl(url, cwd)
    return new Database(await openEngine(parsed, mode))
  }

  get knex(): Knex {
    return this.engine.knex
  }

  get dialect(): Dialect {
    return this.engine.dialect
  }

  /** As a person knows it: an absolute path, `:memory:`, or a URL without its password. */
  get name(): string {
    return this.engine.name
  }

  /** What a person opens it with, without a password. */
  get url(): string {
    return this.engine.url
  }

  /** New each time it is opened, and gone when it is closed. */
  get passing(): boolean {
    return this.engine.passing
  }

  /** How often an idle program looks for what another wrote, where nothing tells it. */
  get pollMs(): number {
    return this.engine.pollMs
  }

  all<Row>(text: string, bindings: readonly Binding[]): Promise<Row[]> {
    return this.engine.all<Row>(text, bindings)
  }

  run(text: string, bindings: readonly Binding[]): Promise<number> {
    return this.engine.run(text, bindings)
  }

  /**
   * Runs `work` inside a commit that concurrent callers share; the promise resolves after the commit. A work that
   * fails takes nothing with it: the group is rolled back and each work commits by itself. A commit that fails is not tried
   * again unless it is surely not written.
   *
   * @param order names the row that works of several programs change one after the other, as a group's. In one commit they
   *   are done in the order of these names, so that two programs seldom wait for each other. Null: it changes no row that another
   *   work of this program may be changing, and asks for none; such works may be under way at one time
   */
  write<T>(work: Work<T>, order: string | null = ''): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.waiting.push({ work, order, resolve: resolve as (value: unknown) => void, reject })
      this.draining ??= this.drain()
    })
  }

  /**
   * The caller's own transaction. What runs there is there only once the caller commits.
   *
   * @throws {UsageError} when it is one on another database
   */
  join(trx: Knex.Transaction): Promise<Sql> {
    return this.engine.join(trx)
  }

  /** A transaction in which no other program migrates. */
  migrating<T>(use: (trx: Knex.Transaction, sql: Sql) => Promise<T>): Promise<T> {
    return this.engine.migrating(use)
  }

  /** A mark: what is told of after it ends a `rest` from it. */
  heard(): number {
    return this.engine.heard()
  }

  /** Waits until another program may have published, for at most as long as it is right not to look. */
  rest(heard: number, signal: AbortSignal): Promise<void> {
    return this.engine.rest(heard, signal)
  }

  /** Waits for the writes under way and lets go of the database. */
  async close(): Promise<void> {
    while (this.draining !== null) await this.draining
    await this.engine.close()
  }

  private async drain(): Promise<void> {
    while (this.waiting.length > 0) {
      await new Promise((resolve) => setImmediate(resolve)) // let everybody of this turn come aboard
      const group = this.waiting.splice(0, MAX_GROUP)
      if (this.engine.concurrent) group.sort(byOrder)
      await this.commitGroup(group)
    }
    this.draining = null
  }

  private async commitGroup(group: readonly Waiting[]): Promise<void> {
    try {
      const works = group.map(({ work }) => work)
      const results = await this.engine.commit(works, group.filter(({ order }) => order === null).length)
      group.forEach(({ resolve }, i) => {
        resolve(results[i])
      })
    } catch (error) {
      if (group.length === 1 || error instanceof CommitUnknownError) for (const { reject } of group) reject(error)
      else for (const one of group) await this.commitGroup([one])
    }
  }
}

function openEngine(url: DatabaseUrl, mode: Mode): Promise<Engine> {
  switch (url.kind) {
    case 'sqlite':
      return SqliteEngine.open(url.filename, mode)
    case 'postgres':
      return PostgresEngine.open(url, mode)
    case 'mysql':
      return MysqlEngine.open(url, mode)
  }
}

/** Those without an order first. */
function byOrder({ order: a }: Waiting, { order: b }: Waiting): number {
  if (a === null || b === null) return Number(b === null) - Number(a === null)
  return a < b ? -1 : a > b ? 1 : 0
}
