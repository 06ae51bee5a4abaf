import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ChannelModel } from 'amqplib'
import { UnavailableError } from '../../task/errors.js'
import { loadAmqplib } from './amqplib.js'
import { readLongs } from './python-longs.js'

/** Seconds between two signs of life; a connection that is silent for two of them is given up. */
const HEARTBEAT = 10

/** How long a server may take to answer a new connection, or to end one. */
const CONNECT_MS = 10_000
const CLOSE_MS = 5000

/** How long it may take for anything else; one that is short of memory or disk reads nothing of a connection that publishes. */
export const ANSWER_MS = 30_000

/** A server as a person may see it: without user and password. */
function shownServer(url: string): string {
  const { protocol, host, pathname } = new URL(url)
  return `${protocol}//${host}${pathname === '/' ? '' : pathname}`
}

/** What a server answers, unless it takes too long. */
export async function answer<T>(asked: Promise<T>): Promise<T> {
  const answered = new AbortController()
  const silence = sleep(ANSWER_MS, undefined, { signal: answered.signal }).then(() => {
    throw new Error(`it did not answer within ${ANSWER_MS / 1000} s`)
  })
  try {
    return await Promise.race([asked, silence])
  } finally {
    silence.catch(() => {}) // nobody waits for it any more
    answered.abort()
  }
}

/** A connection that is opened when it is needed, and opened again when it was lost. */
export class Link {
  private opened: Promise<ChannelModel> | null = null
  private readonly server: string

  /** @param purpose it is part of the connection's name, which RabbitMQ shows */
  constructor(
    private readonly url: string,
    private readonly purpose: 'publishes' | 'consumes',
  ) {
    this.server = shownServer(url)
  }

  /** @throws {UnavailableError} when the server cannot be reached or refuses us */
  open(): Promise<ChannelModel> {
    if (!this.opened) {
      const opening = this.connect()
      const forget = () => {
        if (this.opened === opening) this.opened = null
      }
      this.opened = opening
      opening.then((model) => model.once('close', forget), forget)
    }
    return this.opened
  }

  /** Says goodbye, and hangs up on a server that does not answer. */
  async close(): Promise<void> {
    const opened = this.opened
    this.opened = null
    const model = await opened?.catch(() => null)
    if (!model) return
    const closed = new AbortController()
    model.once('close', () => closed.abort()) // also when it is lost meanwhile, of which `close` does not hear
    model.close().catch(() => closed.abort())
    await sleep(CLOSE_MS, undefined, { signal: closed.signal }).catch(() => {}) // rejects only when aborted
    const { stream } = model.connection as { readonly stream?: { destroy(): void } }
    stream?.destroy()
  }

  /** What went wrong with this server, in one sentence. */
  unavailable(what: string, cause: unknown): UnavailableError {
    const reason = cause instanceof Error ? cause.message.trim() || ('code' in cause ? String(cause.code) : cause.name) : String(cause)
    return new UnavailableError(`RabbitMQ at ${this.server} ${what}: ${reason}`, {
      cause,
      hint: 'check that it runs, and that the setting broker names it',
    })
  }

  private async connect(): Promise<ChannelModel> {
    const { connect } = await loadAmqplib()
    const clientProperties = { connection_name: `taskledger ${this.purpose} ${process.pid}@${hostname()}` }
    try {
      const model = await connect(withHeartbeat(this.url), { clientProperties, timeout: CONNECT_MS, noDelay: true, keepAlive: true })
      model.on('error', () => {}) // the close that follows says it, too
      readLongs(model.connection)
      return model
    } catch (error) {
      const refused = error instanceof Error && error.message.startsWith('Expected ConnectionOpenOk') // all that amqplib says of it
      throw this.unavailable(
        'cannot be reached',
        refused ? new Error('it has no such vhost that this user may use', { cause: error }) : error,
      )
    }
  }
}

function withHeartbeat(given: string): string {
  const url = new URL(given)
  if (!url.searchParams.has('heartbeat')) url.searchParams.set('heartbeat', String(HEARTBEAT))
  return url.href
}
