import type { Knex } from 'knex'
import { UsageError } from '../task/errors.js'
import { Commits, type JointWork } from './commits.js'
import type { Dialect } from './dialect.js'
import type { Engine, Mode, Work } from './engine.js'
import { MysqlEngine } from './mysql.js'
import { PostgresEngine } from './postgres.js'
import type { Binding, Sql } from './sql.js'
import { SqliteEngine } from './sqlite.js'
import { type DatabaseUrl, parseDatabaseUrl } from './url.js'

/**
 * The one door to the ledger's database. As a `Sql` it runs single statements, each its own commit; `write`
 * gathers what this process writes at one time into one commit.
 */
export class Database implements Sql {
  private readonly commits: Commits
  /** What is under way. */
  private readonly uses = new Set<Promise<unknown>>()
  private closed = false

  private constructor(private readonly engine: Engine) {
    this.commits = new Commits(engine)
  }

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
    return this.use(() => this.engine.all<Row>(text, bindings))
  }

  run(text: string, bindings: readonly Binding[]): Promise<number> {
    return this.use(() => this.engine.run(text, bindings))
  }

  /**
   * Runs `work` inside a commit that concurrent callers share; the promise resolves after the commit. A work that
   * fails takes nothing with it: the group is rolled back and each work commits by itself. A commit that fails is not tried
   * again unless it is surely not written.
   *
   * @param order names the row that works of several programs change one after the other, as a group's. Works of this program that
   *   name the same one are done one after the other, as they came. In one commit all are done in the order of these names, so that two
   *   programs seldom wait for each other. Null: it changes no row that another work of this program may be changing, and asks for none
   * @param size how many rows it changes: works of many share no commit
   */
  write<T>(work: Work<T>, order: string | null = '', size = 1): Promise<T> {
    return this.use(() => this.commits.write(work, order, size))
  }

  /**
   * The same, for many items: `work` is called once for all that came to it at one time, and answers for each. It changes no row that
   * another work of this program may be changing.
   *
   * @param work is to be the same function each time
   */
  writeJointly<Item, T>(work: JointWork<Item, T>, items: readonly Item[]): Promise<readonly T[]> {
    return this.use(() => this.commits.writeJointly(work, items))
  }

  /**
   * The caller's own transaction. What runs there is there only once the caller commits.
   *
   * @throws {UsageError} when it is one on another database
   */
  join(trx: Knex.Transaction): Promise<Sql> {
    return this.use(() => this.engine.join(trx))
  }

  /** A transaction in which no other program migrates. */
  migrating<T>(use: (trx: Knex.Transaction, sql: Sql) => Promise<T>): Promise<T> {
    return this.use(() => this.engine.migrating(use))
  }

  /** A mark: what is told of after it ends a `rest` from it. */
  heard(): number {
    return this.engine.heard()
  }

  /** Waits until another program may have published, for at most as long as it is right not to look. */
  rest(heard: number, signal: AbortSignal): Promise<void> {
    return this.engine.rest(heard, signal)
  }

  /** Waits for what is under way and lets go of the database. Whoever asks it after that is refused. */
  async close(): Promise<void> {
    while (this.uses.size > 0) await Promise.allSettled(this.uses)
    this.closed = true
    await this.engine.close()
  }

  /** What `close` waits for: a pool of knex's that is closed while a connection is being asked for keeps its program from ending. */
  private use<T>(begin: () => Promise<T>): Promise<T> {
    if (this.closed) {
      const hint = 'close the app once nothing of it is awaited any more'
      return Promise.reject(new UsageError(`the ledger ${this.name} is closed`, { hint }))
    }
    const one = begin()
    this.uses.add(one)
    const ended = () => this.uses.delete(one)
    one.then(ended, ended)
    return one
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
