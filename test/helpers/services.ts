import { spawnSync } from 'node:child_process'
import { connect } from 'node:net'
import { canStart } from './own-server.js'

/** Whether a test may go on without a service that is not there. On a machine that has them all, it is a failure. */
const REQUIRED = process.env['TEST_SERVICES'] === 'required'

export const PYTHON = '/usr/bin/python3'

/** What suites need besides Node. Each rejects where it is not to be had. */
const SERVICES = {
  PostgreSQL: () => dial(5432),
  RabbitMQ: () => dial(5672),
  Redis: () => dial(6379),
  'RabbitMQ to start': () => canStart('RabbitMQ'),
  'PostgreSQL to start': () => canStart('PostgreSQL'),
  OpenSSL: () => program('openssl', 'version'),
  Celery: () => python('celery', 'redis'),
  Django: () => python('django', 'django_celery_results', 'psycopg2'),
}

export type Service = keyof typeof SERVICES

/** For `before` of a suite: skips it with one line that names what is missing, or fails it where TEST_SERVICES is `required`. */
export async function needs(suite: Mocha.Context, ...names: readonly Service[]): Promise<void> {
  for (const name of names) await SERVICES[name]().catch((error) => missing(suite, name, error))
}

/**
 * A suite on a service that runs beside the tests; the same where it does not answer.
 *
 * @param answers rejects when the service cannot be reached
 */
export function serviceSuite(service: string, answers: () => Promise<unknown>, suite: (this: Mocha.Suite) => void): void {
  describe(`with ${service}`, function () {
    before(`is there a ${service}?`, async function () {
      this.timeout(120_000)
      await answers().catch((error) => missing(this, service, error))
    })
    suite.call(this)
  })
}

function missing(suite: Mocha.Context, service: string, error: unknown): void {
  const why = error instanceof Error ? error.message || String(error) : String(error)
  if (REQUIRED) throw new Error(`${service} is required and cannot be used: ${why}`, { cause: error })
  process.stdout.write(`    skipped: ${service} cannot be used (${why})\n`)
  suite.skip()
}

function dial(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, timeout: 2000 })
    socket.once('connect', () => {
      socket.destroy()
      resolve()
    })
    socket.once('error', reject)
    socket.once('timeout', () => socket.destroy(new Error(`nothing answers at 127.0.0.1:${port}`)))
  })
}

async function program(name: string, ...args: readonly string[]): Promise<void> {
  const { error } = spawnSync(name, args)
  if (error) throw error
}

async function python(...modules: readonly string[]): Promise<void> {
  const { status } = spawnSync(PYTHON, ['-c', `import ${modules.join(', ')}`])
  if (status !== 0) throw new Error(`${PYTHON} has not all of ${modules.join(', ')}`)
}
