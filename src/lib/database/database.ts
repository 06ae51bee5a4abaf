import { access, constants, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import type SqliteDatabase from 'better-sqlite3'
import type { Knex } from 'knex'
import { ConfigurationError } from '../task/errors.js'
import { CommitUnknownError, describeFailure, readOnly } from './failure.js'
import type { Binding, Sql } from './sql.js'
import { immutable, openSqlite, SqliteConnection, whenFree } from './sqlite.js'
import { parseDatabaseUrl } from './url.js'

/** A piece of work for one commit. It may run twice, so it does nothing but SQL. */
type Work<T> = (sql: Sql) => Promise<T>

interface Waiting {
  readonly work: Work<unknown>
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
  private connection: SqliteConnection | null = null

  private constructor(
    readonly knex: Knex,
    /** An absolute path, or `:memory:`. */
    readonly filename: string,
  ) {}

  /**
   * @param mode `read` and `write` refuse a file that is not there; `create` makes it
   * @throws {ConfigurationError} when the URL, the file or its rights are wrong
   */
  static async open(url: string, mode: 'read' | 'write' | 'create', cwd = process.cwd()): Promise<Database> {
    const { filename } = parseDatabaseUrl(url, cwd)
    if (filename !== ':memory:') await checkFile(filename, mode)
    const frozen = mode === 'read' && (await isFrozen(filename))
    const database = new Database(openSqlite(frozen ? immutable(filename) : filename, mode === 'read'), filename)
    try {
      await database.all('SELECT count(*) FROM sqlite_master', [])
      return database
    } catch (error) {
      await database.close()
      throw error
    }
  }

  all<Row>(text: string, bindings: readonly Binding[]): Promise<Row[]> {
    return this.alone((connection) => connection.all<Row>(text, bindings))
  }

  run(text: string, bindings: readonly Binding[]): Promise<number> {
    return this.alone((connection) => connection.run(text, bindings))
  }

  /**
   * Runs `work` inside a commit that concurrent callers share; the promise resolves after the commit. A work that
   * fails takes nothing with it: the group is rolled back and each work commits by itself. A commit that fails is not tried
   * again unless it is surely not written.
   */
  write<T>(work: Work<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.waiting.push({ work, resolve: resolve as (value: unknown) => void, reject })
      this.draining ??= this.drain()
    })
  }

  /** The file as SQLite itself names it (links resolved), or `:memory:`. */
  async path(): Promise<string> {
    const [main] = await this.all<{ file: string }>("SELECT file FROM pragma_database_list WHERE name = 'main'", [])
    return main?.file || ':memory:'
  }

  /** Waits for the writes under way and lets go of the file. */
  async close(): Promise<void> {
    while (this.draining !== null) await this.draining
    await this.knex.destroy()
  }

  private async drain(): Promise<void> {
    while (this.waiting.length > 0) {
      await new Promise((resolve) => setImmediate(resolve)) // let everybody of this turn come aboard
      const group = this.waiting.splice(0, MAX_GROUP)
      await this.commitGroup(group)
    }
    this.draining = null
  }

  private async commitGroup(group: readonly Waiting[]): Promise<void> {
    try {
      const results = await this.commit(group)
      group.forEach(({ resolve }, i) => {
        resolve(results[i])
      })
    } catch (error) {
      if (group.length === 1 || error instanceof CommitUnknownError) for (const { reject } of group) reject(error)
      else for (const one of group) await this.commitGroup([one])
    }
  }

  private commit(group: readonly Waiting[]): Promise<unknown[]> {
    return this.alone(async (connection) => {
      connection.begin()
      try {
        const results: unknown[] = []
        for (const { work } of group) results.push(await work(connection))
        connection.commit()
        return results
      } catch (error) {
        connection.rollback()
        throw error
      }
    })
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
      throw describeFailure(error, this.filename)
    }
  }
}

/** Whether the folder takes no files, as on a backup medium, and nobody has the database open: SQLite could not make its files there. */
async function isFrozen(filename: string): Promise<boolean> {
  return !(await succeeds(access(dirname(filename), constants.W_OK))) && !(await succeeds(stat(`${filename}-wal`)))
}

const succeeds = (attempt: Promise<unknown>): Promise<boolean> =>
  attempt.then(
    () => true,
    () => false,
  )

async function checkFile(filename: string, mode: 'read' | 'write' | 'create'): Promise<void> {
  const found = await stat(filename).catch((error: NodeJS.ErrnoException) => error)
  if (!(found instanceof Error)) {
    if (found.isDirectory())
      throw new ConfigurationError(`the database ${filename} is a folder`, { hint: 'name a file, for example sqlite:taskledger.db' })
    if (mode !== 'read' && !(await succeeds(access(filename, constants.W_OK)))) throw readOnly(filename)
    return
  }
  if (found.code !== 'ENOENT') {
    const hint = 'check that this user may open the folders on the way to it'
    throw new ConfigurationError(`the database ${filename} cannot be read: ${found.code ?? found.message}`, { hint })
  }
  if (mode !== 'create') {
    throw new ConfigurationError(`there is no ledger at ${filename}`, {
      hint: `make one with: taskledger migrate --database sqlite:${filename}`,
    })
  }
  const folder = dirname(filename)
  const isFolder = await stat(folder).then(
    (parent) => parent.isDirectory(),
    () => false,
  )
  if (!isFolder)
    throw new ConfigurationError(`the database ${filename} cannot be made: there is no folder ${folder}`, { hint: 'make the folder first' })
}
