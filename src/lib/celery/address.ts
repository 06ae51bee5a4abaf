import { UsageError } from '../task/errors.js'

/** Where Celery's broker is, and who asks. */
export interface Address {
  readonly protocol: 'amqp' | 'amqps'
  readonly hostname: string
  readonly port: number
  readonly username: string
  readonly password: string
  readonly vhost: string
  /** As a person may see it: without user and password. */
  readonly shown: string
}

const EXPECTED = 'expected amqp://USER:PASSWORD@HOST:PORT/VHOST'

/**
 * Reads a URL as Celery's `broker_url` has it: `pyamqp:` too, and `//` at its end for the vhost `/`.
 *
 * @throws {UsageError} for any other URL; the message tells at most its scheme
 */
export function parseAddress(url: string): Address {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(url)?.[1]?.toLowerCase()
  if (scheme === undefined) throw new UsageError(`the URL of Celery's broker: ${EXPECTED}, got one without a scheme`)
  if (!['amqp', 'amqps', 'pyamqp'].includes(scheme)) {
    throw new UsageError(`the URL of Celery's broker: ${EXPECTED}, got one that begins with ${scheme}:`, {
      hint: 'only a cluster on RabbitMQ can be watched',
    })
  }
  const protocol = scheme === 'amqps' ? 'amqps' : 'amqp'
  try {
    const { hostname, port, username, password, pathname } = new URL(url)
    const vhost = decodeURIComponent(pathname.slice(1)) || '/'
    const host = hostname || 'localhost'
    const number = port === '' ? (protocol === 'amqp' ? 5672 : 5671) : Number(port)
    return {
      protocol,
      hostname: host.replace(/^\[|\]$/g, ''),
      port: number,
      username: decodeURIComponent(username) || 'guest',
      password: username === '' ? 'guest' : decodeURIComponent(password),
      vhost,
      shown: `${protocol}://${host}:${number}/${vhost === '/' ? '' : encodeURIComponent(vhost)}`,
    }
  } catch {
    throw new UsageError(`the URL of Celery's broker: ${EXPECTED}, got one that cannot be read`, {
      hint: 'write what is special in a password as %XX: @ is %40, / is %2F',
    })
  }
}
