import { connect } from 'node:net'

/** Servers that some suites need, and where each is looked for. */
const SERVICES = { RabbitMQ: { host: '127.0.0.1', port: 5672 } } as const

/**
 * For `before` of a suite that needs a server: skips it where there is none, or fails it where TASKLEDGER_TEST_SERVICES is
 * `required`.
 */
export async function needs(suite: Mocha.Context, name: keyof typeof SERVICES): Promise<void> {
  const { host, port } = SERVICES[name]
  if (await answers(host, port)) return
  const missing = `no ${name} at ${host}:${port}`
  if (process.env['TASKLEDGER_TEST_SERVICES'] === 'required') throw new Error(missing)
  console.log(`    skipped: ${missing}`)
  suite.skip()
}

function answers(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: 2000 })
    const end = (found: boolean) => {
      socket.destroy()
      resolve(found)
    }
    socket.once('connect', () => end(true))
    socket.once('error', () => end(false))
    socket.once('timeout', () => end(false))
  })
}
