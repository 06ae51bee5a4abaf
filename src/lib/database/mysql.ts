import { setTimeout as sleep } from 'node:timers/promises'
import type { Knex } from 'knex'
import type { Connection } from 'mysql2'
import { ConfigurationError, UsageError } from '../task/errors.js'
import type { Engine, Mode, Work } from './engine.js'
import { MysqlConnection } from './mysql-connection.js'
import { MYSQL } from './mysql-dialect.js'
import { describeMysqlFailure, gaveWay, isAway, isLost, waitedInVain } from './mysql-failure.js'
import { openMysqlPool, requireMysql2 } from './mysql-pool.js'
import { Server, TRIES } from './server.js'
import type { Binding, Sql } from './sql.js'
import type { MysqlUrl } from './url.js'

/** How long a commit waits for a server that went away to come back, or for others to let go of rows. */
const WAIT_MS = 10_000

/** A day: whoever migrates is waited for. */
const MIGRATION_WAIT_SECONDS = 86_400
const MIGRATION_LOCK = `concat('taskledger ', md5(database()))`

/** What tells one ledger on one server from every other. */
const IDENTITY = `SELECT concat(database(), ' ', @@hostname, ' ', @@port, ' ', @@datadir, ' ', coalesce(
  (SELECT create_time FROM information_schema.tables WHERE table_schema = database() AND table_name = 'task_result'), '')) AS identity,
  @@sql_mode AS mode`

/** The oldest versions that have all that is asked of them: SKIP LOCKED, JSON_TABLE, CHECK, columns that a `*` leaves out. */
const OLDEST = { MariaDB: [10, 6], MySQL: [8, 0, 23] } as const

/** A database of a MySQL or MariaDB server. Commits are READ COMMITTED: what must hold together is in the statements, or locked by them. */
export class MysqlEngine implements Engine {
  readonly dialect = MYSQL
  readonly passing = false
  readonly concurrent = true
  readonly lanes = 1
  readonly pollMs = 50
  private identity: string | null = null
  private maxBytes = Number.POSITIVE_INFINITY

  private readonly server: Server<Connection>

  private constructor(
    readonly knex: Knex,
    readonly url: string,
    private readonly reads: boolean,
  ) {
    this.server = new Server<Connection>(knex, url, { isLost, describe: describeMysqlFailure, discard: (client) => client.destroy() })
  }

  /**
   * @throws {ConfigurationError} without mysql2, or when the server refuses this user, has no such database or is too old
   * @throws {UnavailableError} when the server cannot be reached
   */
  static async open({ secret, shown }: MysqlUrl, mode: Mode): Promise<MysqlEngine> {
    await requireMysql2()
    const engine = new MysqlEngine(openMysqlPool(secret), shown, mode === 'read')
    try {
      const [server] = await engine.all<{ version: string; packet: number }>(
        'SELECT version() AS version, @@max_allowed_packet AS packet',
        [],
      )
      checkVersion(shown, server?.version ?? '')
      engine.maxBytes = server?.packet ?? engine.maxBytes
      return engine
    } catch (error) {
      await engine.close()
      throw error
    }
  }

  get name(): string {
    return this.url
  }

  all<Row>(text: string, bindings: readonly Binding[]): Promise<Row[]> {
    return this.server.read((client) => this.sql(client).all<Row>(text, bindings))
  }

  async run(text: string, bindings: readonly Binding[]): Promise<number> {
    const [changed] = await this.commit([(sql) => sql.run(text, bindings)])
    return changed as number
  }

  commit(works: readonly Work<unknown>[]): Promise<unknown[]> {
    const deadline = performance.now() + WAIT_MS
    return this.server.repeated(
      () => this.server.connected((client) => this.transaction(client, works)),
      (error, tries) => (tries < TRIES && gaveWay(error)) || (performance.now() < deadline && (isAway(error) || waitedInVain(error))),
    )
  }

  async join(trx: Knex.Transaction): Promise<Sql> {
    const expected = `trx: expected a transaction on the ledger's database ${this.name}`
    if (trx.client.dialect !== 'mysql') throw new UsageError(`${expected}, got one of ${trx.client.dialect}`)
    const sql = this.sql((await trx.client.acquireConnection()) as Connection)
    const theirs = await identityOf(sql)
    if (theirs.mode.includes('NO_BACKSLASH_ESCAPES')) {
      throw new UsageError(`${expected} whose sql_mode is without NO_BACKSLASH_ESCAPES, got: ${theirs.mode}`)
    }
    if (theirs.identity === this.identity) return sql
    this.identity = (await identityOf(this)).identity // its tables may have been made anew
    if (theirs.identity === this.identity) return sql
    throw new UsageError(`${expected}, got one on the database ${theirs.identity.split(' ')[0] || 'of none'}`)
  }

  /** What makes or changes a table is a commit of its own here; so the lock is the session's, of a connection beside that of the migration. */
  async migrating<T>(use: (trx: Knex.Transaction, sql: Sql) => Promise<T>): Promise<T> {
    try {
      return await this.server.connected(async (guard) => {
        await this.sql(guard).all(`SELECT GET_LOCK(${MIGRATION_LOCK}, ?)`, [MIGRATION_WAIT_SECONDS])
        try {
          return await this.knex.transaction(async (trx) => use(trx, this.sql((await trx.client.acquireConnection()) as Connection)))
        } finally {
          await this.sql(guard).all(`SELECT RELEASE_LOCK(${MIGRATION_LOCK})`, [])
        }
      })
    } catch (error) {
      throw describeMysqlFailure(error, this.name)
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

  private sql(client: Connection): MysqlConnection {
    return new MysqlConnection(client, this.maxBytes)
  }

  private async transaction(client: Connection, works: readonly Work<unknown>[]): Promise<unknown[]> {
    const results: unknown[] = []
    const sql = this.sql(client)
    try {
      await sql.run(this.reads ? 'START TRANSACTION READ ONLY' : 'START TRANSACTION', [])
      for (const work of works) results.push(await work(sql))
      sql.checkWhole()
    } catch (error) {
      await sql.idle()
      if (!isLost(error))
        await this.sql(client)
          .run('ROLLBACK', [])
          .catch(() => {}) // without its connection it is rolled back already
      throw error
    }
    await this.server.committed(() => sql.run('COMMIT', []))
    return results
  }
}

async function identityOf(sql: Pick<Sql, 'all'>): Promise<{ readonly identity: string; readonly mode: string }> {
  const [row] = await sql.all<{ identity: string | null; mode: string }>(IDENTITY, [])
  return { identity: row?.identity ?? '', mode: row?.mode ?? '' }
}

/** @throws {ConfigurationError} for a server that is too old */
function checkVersion(name: string, version: string): void {
  const product = /mariadb/i.test(version) ? 'MariaDB' : 'MySQL'
  const numbers = (/\d+(\.\d+)*/.exec(version.replace(/^5\.5\.5-/, ''))?.[0] ?? '').split('.').map(Number)
  const oldest = OLDEST[product]
  const differs = oldest.findIndex((number, i) => (numbers[i] ?? 0) !== number)
  if (differs === -1 || (numbers[differs] ?? 0) > (oldest[differs] ?? 0)) return
  throw new ConfigurationError(`the server of ${name} is too old: expected ${product} ${oldest.join('.')} or later, got ${version}`, {
    hint: 'name another server in the database setting',
  })
}
