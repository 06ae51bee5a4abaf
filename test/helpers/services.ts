import { connect } from 'node:net'

/** Whether a test may go on without a service that is not there. On a machine that has them all, it is a failure. */
const REQUIRED = process.env['TEST_SERVICES'] === 'required'

/** Servers that are looked for by their port alone. */
const PORTS = { RabbitMQ: 5672, Redis: 6379 } as const

/** For `before` of a suite that needs a server: skips it with one line where there is none, or fails it where TEST_SERVICES is `required`. */
export async function needs(suite: Mocha.Context, name: keyof typeof PORTS): Promise<void> {
  await dial(PORTS[name]).catch((error) => missing(suite, name, error))
}

/**
 * A suite on a service that runs beside the tests; the same where it does not answer.
 *
 * @param answers rejects when the service cannot be reached
 */
export function serviceSuite(service: string, answers: () => Promise<unknown>, suite: (this: Mocha.Suite) => void): void {
  describe(`with ${service}`, function () {
    before(`is there a ${service}?`, async function () {
      await answers().catch((error) => missing(this, service, error))
    })
    suite.call(this)
  })
}

function missing(suite: Mocha.Context, service: string, error: unknown): void {
  const why = error instanceof Error ? error.message || String(error) : String(error)
  if (REQUIRED) throw new Error(`${service} is required and does not answer: ${why}`, { cause: error })
  process.stdout.write(`    skipped: ${service} does not answer (${why})\n`)
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
