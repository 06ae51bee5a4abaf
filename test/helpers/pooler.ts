import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import type { Databases } from './databases.js'
import { freePort } from './own-server.js'
import { postgresSuite, schemas, serverUrl } from './postgres.js'
import { serviceSuite } from './services.js'
import { until } from './until.js'

/** Debian's, which is on the path of root alone. */
const PGBOUNCER = '/usr/sbin/pgbouncer'

/** A PgBouncer before the tests' server, which gives each transaction another of a few connections. `await using` ends it. */
interface Pooler extends AsyncDisposable {
  /** A schema of the server, as a program sees it that connects to the pooler. */
  urlOf(schema: string): Promise<string>
}

async function openPooler(connections = 3): Promise<Pooler> {
  const folder = await mkdtemp(join(tmpdir(), 'taskledger-pgbouncer-'))
  await chmod(folder, 0o755) // PgBouncer refuses to run as root
  const port = await freePort()
  const { hostname, port: behind, username, pathname } = new URL(serverUrl(() => {}))
  const target = `host=${hostname} port=${behind || 5432} user=${username} dbname=${pathname.slice(1)}`
  const known: string[] = []
  const file = join(folder, 'pgbouncer.ini')
  const configure = () =>
    writeFile(
      file,
      [
        '[databases]',
        ...known.map((schema) => `${schema} = ${target} connect_query='SET search_path = ${schema}'`),
        '[pgbouncer]',
        `listen_addr = 127.0.0.1\nlisten_port = ${port}\nunix_socket_dir =`,
        'auth_type = any\npool_mode = transaction',
        `default_pool_size = ${connections}\nmax_client_conn = 200`,
        '',
      ].join('\n'),
    )
  await configure()
  const as = process.getuid?.() === 0 ? ['-u', 'postgres'] : []
  const pooler: ChildProcess = spawn(PGBOUNCER, [...as, file], { stdio: 'ignore' })
  const kill = () => pooler.kill('SIGKILL')
  process.once('exit', kill)
  return {
    async urlOf(schema) {
      const url = `postgres://${username}@127.0.0.1:${port}/${schema}`
      if (known.includes(schema)) return url
      known.push(schema)
      await configure()
      await until(async () => {
        pooler.kill('SIGHUP')
        return answers(url)
      }, 'PgBouncer to know a schema')
      return url
    },
    async [Symbol.asyncDispose]() {
      process.off('exit', kill)
      const ended = once(pooler, 'exit')
      kill()
      await ended
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2000 })
  client.on('error', () => {})
  try {
    await client.connect()
    await client.query('SELECT 1')
    return true
  } catch {
    return false
  } finally {
    await client.end().catch(() => {})
  }
}

let shared: Promise<Pooler> | null = null

/** A schema of its own in the server's database, behind a pooler. */
export const POOLED: Databases<'PgBouncer'> = {
  name: 'PgBouncer',
  async make() {
    shared ??= openPooler()
    const schema = await schemas.take()
    return { url: await (await shared).urlOf(schema), remove: () => schemas.give(schema) }
  },
}

/** A suite that needs a PostgreSQL server, and a pooler to be started before it. */
export function poolerSuite(suite: (this: Mocha.Suite) => void): void {
  postgresSuite(() => {
    serviceSuite(
      'PgBouncer',
      async () => execFileSync(PGBOUNCER, ['--version']),
      function () {
        suite.call(this)
        after(async () => {
          await (await shared)?.[Symbol.asyncDispose]()
          shared = null
        })
      },
    )
  })
}
