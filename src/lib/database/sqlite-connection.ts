import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import type SqliteDatabase from 'better-sqlite3'
import knex, { type Knex } from 'knex'
import { CommitUnknownError } from './failure.js'
import type { Binding, Sql } from './sql.js'
import { SQLITE } from './sqlite-dialect.js'
import { isBusy } from './sqlite-failure.js'

/** How long a statement of SQLite's own waits for a lock before the caller may decide to wait on. */
const LOCK_WAIT_MS = 5

/** How long a write waits for another process's lock before it gives up. */
const BUSY_TIMEOUT_MS = 10_000

/** Texts that vary (a list of ids, an optional filter) would fill the cache for ever. */
const MAX_STATEMENTS = 250

/** A name for a file that nobody changes meanwhile: SQLite then opens it without locks, and without files beside it. */
export function immutable(filename: string): string {
  // biome-ignore lint/style/noProcessEnv: better-sqlite3 asks there, once, whether a name may be a URI
  process.env['SQLITE_USE_URI'] = '1'
  return `${pathToFileURL(filename).href}?immutable=1`
}

/**
 * SQLite through knex: one connection, which `pool.afterCreate` makes durable. WAL lets readers and one writer
 * work side by side; FULL makes a commit survive a power cut.
 */
export function openSqlite(filename: string, readonly: boolean): Knex {
  const opened = knex({
    client: 'better-sqlite3',
    connection: { filename, options: { readonly } },
    useNullAsDefault: true,
    compileSqlOnError: false, // an error message must not carry task arguments
    acquireConnectionTimeout: 10_000,
    log: { warn: () => {} }, // knex prints to stdout, with a stack, what it then throws as well
    pool: {
      min: 1,
      max: 1,
      afterCreate: (connection: SqliteDatabase.Database, done: (error: Error | null, connection: SqliteDatabase.Database) => void) => {
        try {
          connection.pragma(`busy_timeout = ${LOCK_WAIT_MS}`)
          connection.pragma('foreign_keys = ON')
          if (!readonly) {
            connection.pragma('journal_mode = WAL')
            connection.pragma('synchronous = FULL')
          }
          done(null, connection)
        } catch (error) {
          connection.close()
          done(error as Error, connection)
        }
      },
    },
  })
  return readonly ? opened : endOpenTransactions(beginImmediately(opened))
}

/**
 * knex begins deferred, and a transaction that reads before it writes then fails at once when somebody else wrote in
 * between. Callers' transactions and migrations take the write lock first, waiting for it without blocking the process.
 */
function beginImmediately(opened: Knex): Knex {
  const transaction = opened.client.transaction.bind(opened.client)
  opened.client.transaction = (...how: unknown[]) => {
    const begun = transaction(...how)
    begun.begin = (connection: SqliteDatabase.Database) => whenFree(() => connection.exec('BEGIN IMMEDIATE'))
    return begun
  }
  return opened
}

/** Runs `use` again and again while another process holds the lock it needs, for as long as `BUSY_TIMEOUT_MS`. */
export async function whenFree<T>(use: () => T | Promise<T>): Promise<T> {
  const deadline = Date.now() + BUSY_TIMEOUT_MS
  for (let waits = 0; ; waits++) {
    try {
      return await use()
    } catch (error) {
      if (!isBusy(error) || Date.now() > deadline) throw error
      await sleep(1 + Math.random() * Math.min(20, 2 ** waits))
    }
  }
}

/** A COMMIT that fails may leave its transaction open (a deferred foreign key does); knex would hand the connection on with it. */
function endOpenTransactions(opened: Knex): Knex {
  const release = opened.client.releaseConnection.bind(opened.client)
  opened.client.releaseConnection = (connection: SqliteDatabase.Database) => {
    if (connection.inTransaction) connection.exec('ROLLBACK')
    return release(connection)
  }
  return opened
}

/** One raw connection, each statement prepared once. better-sqlite3 answers at once; the promise is for the contract. */
export class SqliteConnection implements Sql {
  readonly dialect = SQLITE
  private readonly statements = new Map<string, SqliteDatabase.Statement>()

  constructor(readonly raw: SqliteDatabase.Database) {}

  private prepare(text: string): SqliteDatabase.Statement {
    const known = this.statements.get(text)
    if (known) return known
    if (this.statements.size >= MAX_STATEMENTS) this.statements.clear()
    const statement = this.raw.prepare(text)
    this.statements.set(text, statement)
    return statement
  }

  async all<Row>(text: string, bindings: readonly Binding[]): Promise<Row[]> {
    return this.prepare(text).all(bindings) as Row[]
  }

  async run(text: string, bindings: readonly Binding[]): Promise<number> {
    return this.prepare(text).run(bindings).changes
  }

  async each(text: string, many: readonly (readonly Binding[])[]): Promise<number[]> {
    const statement = this.prepare(text)
    return many.map((bindings) => statement.run(bindings).changes)
  }

  begin(): void {
    this.prepare('BEGIN IMMEDIATE').run()
  }

  /** @throws {CommitUnknownError} when the transaction is over and did not say how */
  commit(): void {
    try {
      this.prepare('COMMIT').run()
    } catch (error) {
      if (this.raw.inTransaction) throw error
      const why = error instanceof Error ? error.message : String(error)
      throw new CommitUnknownError(`the database ${this.raw.name} failed during a commit, which is written or not: ${why}`, {
        cause: error,
      })
    }
  }

  rollback(): void {
    if (this.raw.inTransaction) this.prepare('ROLLBACK').run()
  }
}
