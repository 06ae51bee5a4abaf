import knex, { type Knex } from 'knex'
import type { Client } from 'pg'
import { ConfigurationError, UsageError } from '../task/errors.js'
import type { Engine, Mode, Work } from './engine.js'
import { Listener } from './listener.js'
import { Batch } from './postgres-batch.js'
import { PostgresConnection } from './postgres-connection.js'
import { POSTGRES } from './postgres-dialect.js'
import { describePostgresFailure, gaveWay, isAway, isLost } from './postgres-failure.js'
import { Server, TRIES } from './server.js'
import type { Binding, Sql } from './sql.js'
import type { PostgresUrl } from './url.js'

/** Connections of one process, apart from the one that listens: three for its commits, the others for reads and callers' transactions. */
const POOL = 10

/** How long a server may take to answer a new connection, and a caller may wait for one that is free. */
const CONNECT_MS = 10_000

/** How long a commit waits for a server that went away to come back, as one that is started anew does. */
const AWAY_MS = 10_000

/** Any number will do that nobody else takes for a lock in the same database. */
const MIGRATION_LOCK = 7_465_100_273

/** What tells one ledger on one server from every other. */
const IDENTITY = `SELECT current_database() || ' ' || coalesce(to_regclass('task_result')::oid::text, '') || ' ' || pg_postmaster_start_time() AS identity`

/**
 * For the statements of one commit. What is queued or open changes quicker than PostgreSQL counts it, and by an old count it would go
 * through a whole table, or sort a whole queue, for a few rows that an index leads to. It compiles nothing for that either.
 */
const BY_INDEX = ['enable_seqscan', 'enable_bitmapscan', 'enable_hashjoin', 'enable_mergejoin', 'enable_sort', 'jit']
  .map((way) => `SET LOCAL ${way} = off`)
  .join('; ')

/** knex hands out no connection again that has this mark. */
type PooledClient = Client & { __knex__disposed?: unknown }

/** A database of a PostgreSQL server. Commits are READ COMMITTED: what must hold together is in the statements, or locked by them. */
export class PostgresEngine implements Engine {
  readonly dialect = POSTGRES
  readonly passing = false
  readonly concurrent = true
  readonly lanes = 3 // while some wait for the server, another is made
  readonly pollMs = 100
  private identity: string | null = null
  private readonly listener = new Listener(
    async () => (await this.knex.client.acquireRawConnection()) as Client,
    async (channel, text) => void (await this.all('SELECT pg_notify(?, ?)', [channel, text])),
    () => this.schema(),
  )

  private readonly server: Server<PooledClient>

  private constructor(
    readonly knex: Knex,
    readonly url: string,
    private readonly reads: boolean,
  ) {
    const discard = (client: PooledClient, error: unknown) => {
      client.__knex__disposed = error
    }
    this.server = new Server<PooledClient>(knex, url, { isLost, describe: describePostgresFailure, discard })
  }

  /**
   * @throws {ConfigurationError} without pg, or when the server refuses this user or has no such database
   * @throws {UnavailableError} when the server cannot be reached
   */
  static async open({ secret, shown, database }: PostgresUrl, mode: Mode): Promise<PostgresEngine> {
    await requirePg()
    const engine = new PostgresEngine(openPool(secret), shown, mode === 'read')
    try {
      const [server] = await engine.all<{ encoding: string }>("SELECT current_setting('server_encoding') AS encoding", [])
      if (server?.encoding === 'UTF8') return engine
      const hint = `make one: createdb --encoding=UTF8 --template=template0 ${database}`
      throw new ConfigurationError(`the database ${shown} is encoded in ${server?.encoding}; expected UTF8`, { hint })
    } catch (error) {
      await engine.close()
      throw error
    }
  }

  get name(): string {
    return this.url
  }

  all<Row>(text: string, bindings: readonly Binding[]): Promise<Row[]> {
    return this.server.read((client) => new PostgresConnection(client).all<Row>(text, bindings))
  }

  async run(text: string, bindings: readonly Binding[]): Promise<number> {
    const [changed] = await this.commit([(sql) => sql.run(text, bindings)])
    return changed as number
  }

  commit(works: readonly Work<unknown>[], free = 0): Promise<unknown[]> {
    const deadline = performance.now() + AWAY_MS
    return this.server.repeated(
      () => this.server.connected((client) => this.transaction(client, works, free)),
      (error, tries) => (tries < TRIES && gaveWay(error)) || (performance.now() < deadline && isAway(error)),
    )
  }

  async join(trx: Knex.Transaction): Promise<Sql> {
    const expected = `trx: expected a transaction on the ledger's database ${this.name}`
    if (trx.client.dialect !== 'postgresql') throw new UsageError(`${expected}, got one of ${trx.client.dialect}`)
    const sql = new PostgresConnection((await trx.client.acquireConnection()) as Client)
    const theirs = await identityOf(sql)
    if (theirs === this.identity) return sql
    this.identity = await identityOf(this) // the server may have been started anew
    if (theirs === this.identity) return sql
    throw new UsageError(`${expected}, got one on the database ${theirs?.split(' ')[0] ?? 'of a server without this ledger'}`)
  }

  async migrating<T>(use: (trx: Knex.Transaction, sql: Sql) => Promise<T>): Promise<T> {
    try {
      return await this.knex.transaction(
        async (trx) => {
          const sql = new PostgresConnection((await trx.client.acquireConnection()) as Client)
          await sql.all('SELECT pg_advisory_xact_lock(?)', [MIGRATION_LOCK])
          return use(trx, sql)
        },
        { isolationLevel: 'read committed' }, // what another program has migrated meanwhile is to be seen
      )
    } catch (error) {
      throw describePostgresFailure(error, this.name)
    }
  }

  heard(): number {
    return this.listener.heard()
  }

  rest(heard: number, signal: AbortSignal): Promise<void> {
    return this.listener.rest(heard, signal)
  }

  async close(): Promise<void> {
    await this.listener.close()
    await this.knex.destroy()
  }

  private async schema(): Promise<string> {
    const [row] = await this.all<{ nspname: string }>(
      "SELECT nspname FROM pg_namespace WHERE oid = (SELECT relnamespace FROM pg_class WHERE oid = 'task_message'::regclass)",
      [],
    )
    return row?.nspname ?? ''
  }

  private async transaction(client: Client, works: readonly Work<unknown>[], free: number): Promise<unknown[]> {
    const results: unknown[] = []
    const sql = new PostgresConnection(client)
    try {
      await client.query(`BEGIN ISOLATION LEVEL READ COMMITTED ${this.reads ? 'READ ONLY' : 'READ WRITE'}; ${BY_INDEX}`)
      const together = works.slice(0, free)
      if (together.length > 1) results.push(...(await allOf(together, new Batch(sql))))
      for (const work of works.slice(results.length)) results.push(await work(sql))
    } catch (error) {
      await sql.idle()
      if (!isLost(error)) await client.query('ROLLBACK').catch(() => {}) // without its connection it is rolled back already
      throw error
    }
    const { command } = await this.server.committed(() => client.query('COMMIT'))
    if (command !== 'COMMIT') throw new Error('a commit was rolled back: one of its statements had failed, and its error was passed over')
    return results
  }
}

/** All at one time. When some fail, the first that did says why: those after it fail because of it. */
async function allOf(works: readonly Work<unknown>[], sql: Sql): Promise<unknown[]> {
  let first: { readonly error: unknown } | null = null
  const ended = works.map((work) =>
    work(sql).catch((error) => {
      first ??= { error }
    }),
  )
  const results = await Promise.all(ended)
  if (first) throw (first as { readonly error: unknown }).error
  return results
}

async function identityOf(sql: Pick<Sql, 'all'>): Promise<string | null> {
  const [row] = await sql.all<{ identity: string | null }>(IDENTITY, [])
  return row?.identity ?? null
}

async function requirePg(): Promise<void> {
  try {
    await import('pg')
  } catch (error) {
    if (error instanceof Error && 'code' in error && /^(ERR_)?MODULE_NOT_FOUND$/.test(String(error.code))) {
      throw new ConfigurationError('a ledger in PostgreSQL needs the package pg, which is not installed', {
        cause: error,
        hint: 'install pg: npm install pg',
      })
    }
    throw error
  }
}

function openPool(connectionString: string): Knex {
  return knex({
    client: 'pg',
    connection: {
      connectionString,
      application_name: 'taskledger',
      keepAlive: true,
      connectionTimeoutMillis: CONNECT_MS,
    } as Knex.PgConnectionConfig,
    compileSqlOnError: false, // an error message must not carry task arguments
    acquireConnectionTimeout: CONNECT_MS,
    log: { warn: () => {} }, // knex prints to stdout, with a stack, what it then throws as well
    pool: { min: 0, max: POOL },
  })
}
