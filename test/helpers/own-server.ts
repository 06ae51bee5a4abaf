import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { chown, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { connect } from 'amqplib'
import type { Certificate } from './certificate.js'
import { until } from './until.js'

const run = promisify(execFile)

/** A server that one test has to itself, so that it may end it. `await using` removes it. */
export interface OwnServer extends AsyncDisposable {
  readonly url: string
  /** Ends it as a crash would, without a word to anybody. */
  crash(): Promise<void>
  /** Has it say goodbye to everybody. */
  stop(): Promise<void>
  /** Resolves when it takes connections. */
  start(): Promise<void>
}

const RABBITMQ_SERVER = '/usr/lib/rabbitmq/bin/rabbitmq-server'
const RABBITMQ_CONTROL = '/usr/lib/rabbitmq/bin/rabbitmqctl'
/** Generous: it only bounds a test that has failed. */
const START_MS = 150_000

/** Where systems look for a port by themselves when a program connects begins higher up. */
const [FIRST_PORT, LAST_PORT] = [15_000, 32_000]

/** A port that is still free when a server that takes seconds to start, or is started again, gets to it. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(FIRST_PORT, LAST_PORT)
    const listener = createServer().listen(port, '127.0.0.1')
    const isFree = await once(listener, 'listening').then(
      () => true,
      () => false,
    )
    listener.close()
    if (isFree) return port
  }
}

export interface OwnRabbit extends OwnServer {
  /** Closes every connection, as an operator does. */
  closeConnections(): Promise<void>
}

/** A RabbitMQ node with nothing in it. It takes some ten seconds to start. */
export async function ownRabbit(): Promise<OwnRabbit> {
  const folder = await mkdtemp(join(tmpdir(), 'taskledger-rabbitmq-'))
  const [port, distribution] = [await freePort(), await freePort()]
  const file = (name: string) => join(folder, name)
  await writeFile(file('plugins'), '[].')
  await writeFile(file('own.conf'), `listeners.tcp.local = 127.0.0.1:${port}\n`)
  const env = {
    ...process.env,
    HOME: folder,
    ERL_EPMD_ADDRESS: '127.0.0.1',
    RABBITMQ_NODENAME: `taskledger-test-${port}@localhost`,
    RABBITMQ_DIST_PORT: String(distribution),
    RABBITMQ_MNESIA_DIR: file('data'),
    RABBITMQ_LOGS: file('log'),
    RABBITMQ_PID_FILE: file('pid'),
    RABBITMQ_ENABLED_PLUGINS_FILE: file('plugins'),
    RABBITMQ_CONFIG_FILE: file('own.conf'),
    RABBITMQ_CONF_ENV_FILE: '/dev/null',
  }
  const url = `amqp://guest:guest@127.0.0.1:${port}`
  let node: ChildProcess | null = null
  const signal = (name: NodeJS.Signals) => {
    if (node?.pid !== undefined && node.exitCode === null && node.signalCode === null) process.kill(-node.pid, name) // with its own children
  }
  const kill = () => signal('SIGKILL')
  const end = async (name: NodeJS.Signals) => {
    const ended = node && once(node, 'exit')
    signal(name)
    await ended
    node = null
  }
  const server: OwnRabbit = {
    url,
    async closeConnections() {
      await run(RABBITMQ_CONTROL, ['close_all_connections', 'closed by a test'], { env })
    },
    crash: () => end('SIGKILL'),
    stop: () => end('SIGTERM'),
    async start() {
      node = spawn(RABBITMQ_SERVER, [], { env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
      const said: Buffer[] = []
      for (const stream of [node.stdout, node.stderr]) stream?.on('data', (chunk: Buffer) => said.push(chunk))
      const answers = () => {
        if (node?.exitCode !== null) throw new Error(`the RabbitMQ node did not start: ${Buffer.concat(said)}`)
        return connect(url, { timeout: 2000 }).then(
          (connection) => connection.close().then(() => true),
          () => false,
        )
      }
      await until(answers, 'the RabbitMQ node to start', START_MS)
    },
    async [Symbol.asyncDispose]() {
      process.off('exit', kill)
      if (node) await end('SIGKILL')
      await rm(folder, { recursive: true, force: true })
    },
  }
  process.once('exit', kill)
  return started(server)
}

async function started<Server extends OwnServer>(server: Server): Promise<Server> {
  try {
    await server.start()
    return server
  } catch (error) {
    await server[Symbol.asyncDispose]()
    throw error
  }
}

const PASSWORD = 's3cret-4711'

export interface OwnPostgres extends OwnServer {
  /** Makes a database with nothing in it, and answers its URL. */
  newDatabase(): Promise<string>
}

/** A PostgreSQL cluster with nothing in it. With a certificate it speaks TLS alone, and asks for the password of its URL. */
export async function ownPostgres(certificate: Certificate | null = null): Promise<OwnPostgres> {
  const folder = await mkdtemp(join(tmpdir(), 'taskledger-postgres-'))
  const port = await freePort()
  const programs = await postgresPrograms()
  const data = join(folder, 'data')
  const own = await postgresUser()
  if (own) await chown(folder, own.uid, own.gid)
  const as = { cwd: folder, ...own }
  const control = (...args: string[]) => run(join(programs, 'pg_ctl'), ['-D', data, '-w', '-s', ...args], as)
  const options = `-p ${port} -k ${folder} -c listen_addresses=127.0.0.1${certificate ? ' -c ssl=on' : ''}`
  let up = false
  let made = 0
  const end = async (mode: 'immediate' | 'fast') => {
    up = false
    await control('-m', mode, 'stop')
  }
  const server: OwnPostgres = {
    url: certificate
      ? `postgres://postgres:${PASSWORD}@localhost:${port}/postgres?sslmode=verify-full&sslrootcert=${certificate.file}`
      : `postgres://postgres@127.0.0.1:${port}/postgres`,
    async newDatabase() {
      made += 1
      await run(join(programs, 'createdb'), ['-h', '127.0.0.1', '-p', String(port), '-U', 'postgres', `own${made}`], as)
      return `postgres://postgres@127.0.0.1:${port}/own${made}`
    },
    crash: () => end('immediate'),
    stop: () => end('fast'),
    async start() {
      if (up) return
      await control('-l', join(folder, 'log'), '-o', options, 'start')
      up = true
    },
    async [Symbol.asyncDispose]() {
      if (up) await end('immediate')
      await rm(folder, { recursive: true, force: true })
    },
  }
  const init = (...how: readonly string[]) =>
    run(join(programs, 'initdb'), ['-D', data, '-U', 'postgres', '-E', 'UTF8', '--no-sync', ...how], as)
  if (!certificate) {
    await init('-A', 'trust')
    return started(server)
  }
  const put = async (path: string, text: string) => {
    await writeFile(path, text, { mode: 0o600 })
    if (own) await chown(path, own.uid, own.gid)
  }
  const passwordFile = join(folder, 'password')
  await put(passwordFile, PASSWORD)
  await init('-A', 'scram-sha-256', '--pwfile', passwordFile)
  await put(join(data, 'server.crt'), certificate.cert)
  await put(join(data, 'server.key'), certificate.key)
  await put(join(data, 'pg_hba.conf'), 'hostssl all all 127.0.0.1/32 scram-sha-256\n')
  return started(server)
}

/** Where Debian keeps the server's programs, the newest; elsewhere they are on the path. */
async function postgresPrograms(): Promise<string> {
  const versions = await readdir('/usr/lib/postgresql').catch(() => [])
  const newest = versions.map(Number).sort((a, b) => b - a)[0]
  return newest === undefined ? '' : `/usr/lib/postgresql/${newest}/bin`
}

/** PostgreSQL refuses to run as root. */
async function postgresUser(): Promise<{ readonly uid: number; readonly gid: number } | null> {
  if (userInfo().uid !== 0) return null
  const [uid, gid] = await Promise.all(['-u', '-g'].map(async (which) => Number((await run('id', [which, 'postgres'])).stdout)))
  return { uid: uid ?? 0, gid: gid ?? 0 }
}

/** Rejects where such servers cannot be started. */
export async function canStart(server: 'RabbitMQ' | 'PostgreSQL'): Promise<void> {
  await run(
    server === 'RabbitMQ' ? 'test' : join(await postgresPrograms(), 'initdb'),
    server === 'RabbitMQ' ? ['-x', RABBITMQ_SERVER] : ['--version'],
  )
}
