import { setTimeout as sleep } from 'node:timers/promises'
import type SqliteDatabase from 'better-sqlite3'
import type { Knex } from 'knex'
import { UsageError } from '../task/errors.js'
import type { Engine, Mode, Work } from './engine.js'
import type { Binding, Sql } from './sql.js'
import { immutable, openSqlite, SqliteConnection, whenFree } from './sqlite-connection.js'
import { SQLITE } from './sqlite-dialect.js'
import { describeSqliteFailure } from './sqlite-failure.js'
import { checkFile, isFrozen } from './sqlite-file.js'

/** A file of SQLite, or a database in memory; one connection does everything. */
export class SqliteEngine implements Engine {
  readonly dialect = SQLITE
  readonly concurrent = false
  readonly lanes = 1
  readonly pollMs = 25
  private connection: SqliteConnection | null = null

  private constructor(
    readonly knex: Knex,
    /** An absolute path, or `:memory:`. */
    readonly name: string,
  ) {}

  /** @throws {ConfigurationError} when the file or its rights are wrong */
  static async open(filename: string, mode: Mode): Promise<SqliteEngine> {
    if (filename !== ':memory:') await checkFile(filename, mode)
    const frozen = mode === 'read' && (await isFrozen(filename))
    const engine = new SqliteEngine(openSqlite(frozen ? immutable(filename) : filename, mode === 'read'), filename)
    try {
      await engine.all('SELECT count(*) FROM sqlite_master', [])
      return engine
    } catch (error) {
      await engine.close()
      throw error
    }
  }

  get url(): string {
    return `sqlite:${this.name}`
  }

  get passing(): boolean {
    return this.name === ':memory:'
  }

  all<Row>(text: string, bindings: readonly Binding[]): Promise<Row[]> {
    return this.alone((connection) => connection.all<Row>(text, bindings))
  }

  run(text: string, bindings: readonly Binding[]): Promise<number> {
    return this.alone((connection) => connection.run(text, bindings))
  }

  commit(works: readonly Work<unknown>[]): Promise<unknown[]> {
    return this.alone(async (connection) => {
      connection.begin()
      try {
        const results: unknown[] = []
        for (const work of works) results.push(await work(connection))
        connection.commit()
        return results
      } catch (error) {
        connection.rollback()
        throw error
      }
    })
  }

  async join(trx: Knex.Transaction): Promise<Sql> {
    if (trx.client.dialect !== 'sqlite3') {
      throw new UsageError(`trx: expected a transaction on the ledger's database ${this.name}, got one of ${trx.client.dialect}`)
    }
    const sql = sqlOf(trx)
    const file = await fileOf(sql)
    if (file === this.name || file === (await fileOf(this))) return sql
    throw new UsageError(`trx: expected a transaction on the ledger's database ${this.name}, got one on ${file}`)
  }

  async migrating<T>(use: (trx: Knex.Transaction, sql: Sql) => Promise<T>): Promise<T> {
    try {
      return await this.knex.transaction((trx) => use(trx, sqlOf(trx)))
    } catch (error) {
      throw describeSqliteFailure(error, this.name)
    }
  }

  heard(): number {
    return 0
  }

  async rest(_heard: number, signal: AbortSignal): Promise<void> {
    await sleep(this.pollMs, undefined, { signal }).catch(() => {}) // rejects only when aborted
  }

  async close(): Promise<void> {
    await this.knex.destroy()
  }

  /** Has the connection to itself; when another process holds the lock, waits for it without blocking this process. */
  private async alone<T>(use: (connection: SqliteConnection) => Promise<T>): Promise<T> {
    try {
      return await whenFree(async () => {
        const raw = (await this.knex.client.acquireConnection()) as SqliteDatabase.Database
        try {
          if (this.connection?.raw !== raw) this.connection = new SqliteConnection(raw)
          return await use(this.connection)
        } finally {
          await this.knex.client.releaseConnection(raw)
        }
      })
    } catch (error) {
      throw describeSqliteFailure(error, this.name)
    }
  }
}

/** The file as SQLite itself names it (links resolved), or `:memory:`. */
async function fileOf(sql: Pick<Sql, 'all'>): Promise<string> {
  const [main] = await sql.all<{ file: string }>("SELECT file FROM pragma_database_list WHERE name = 'main'", [])
  return main?.file || ':memory:'
}

const sqlOf = (trx: Knex.Transaction): Sql => ({
  dialect: SQLITE,
  all: async <Row>(text: string, bindings: readonly Binding[]) => (await trx.raw<Row[]>(text, [...bindings])) as Row[],
  run: async (text, bindings) => (await trx.raw<{ changes: number }>(text, [...bindings])).changes,
})
