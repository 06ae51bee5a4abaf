import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import { createServer } from 'node:tls'
import { type Certificate, makeCertificate } from '../../helpers/certificate.js'
import { type Folder, openFolder } from '../../helpers/folder.js'
import { openRabbit, type Rabbit } from '../../helpers/rabbitmq.js'
import type { Ran } from '../../helpers/run.js'
import { needs } from '../../helpers/services.js'
import { RABBITMQ } from '../../helpers/vhost.js'

/** RabbitMQ as it is to be spoken to over TLS. */
async function openTls({ cert, key }: Certificate): Promise<AsyncDisposable & { readonly url: string }> {
  const { hostname, port } = new URL(RABBITMQ)
  const listener = createServer({ cert, key }, (client) => {
    const server = connect({ host: hostname, port: Number(port) })
    for (const [one, other] of [[client, server] as const, [server, client] as const]) {
      one.on('error', () => other.destroy())
      one.pipe(other)
    }
  })
  listener.on('tlsClientError', () => {}) // who does not trust it hangs up
  listener.listen(0)
  await once(listener, 'listening')
  return {
    url: `amqps://guest:guest@localhost:${(listener.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      listener.close()
    },
  }
}

/** A ledger and the command that publishes a task to that broker. */
async function publish(folder: Folder, rabbit: Rabbit, broker: string, env: Record<string, string>): Promise<Ran> {
  const { code, stderr } = await folder.run(['migrate'])
  assert.equal(code, 0, stderr)
  return folder.run(['call', 'add', '--args', '[1, 2]', '--queue', rabbit.queue('default'), '--broker', broker], { env })
}

describe('a broker at RabbitMQ over TLS', () => {
  before(function () {
    return needs(this, 'RabbitMQ', 'OpenSSL')
  })

  it('is used when its certificate is trusted', async () => {
    await using certificate = await makeCertificate()
    await using tls = await openTls(certificate)
    await using rabbit = await openRabbit()
    await using folder = await openFolder()
    const { code, stderr } = await publish(folder, rabbit, tls.url, { NODE_EXTRA_CA_CERTS: certificate.file })
    assert.equal(stderr, '')
    assert.equal(code, 0)
    assert.equal((await rabbit.look('default')).length, 1)
  })

  it('is not spoken to when nobody trusts its certificate, and the row waits to be sent', async () => {
    await using certificate = await makeCertificate()
    await using tls = await openTls(certificate)
    await using rabbit = await openRabbit()
    await using folder = await openFolder()
    const { code, stderr } = await publish(folder, rabbit, tls.url, {})
    assert.equal(code, 0)
    assert.match(stderr, /^taskledger: warning: RabbitMQ at amqps:\/\/localhost:\d+ cannot be reached: self-signed certificate\n$/)
    assert.equal(await rabbit.count('default'), null)
    assert.match((await folder.run(['find-stale-tasks', '--json'])).stdout, /"reason": "unpublished"/)
  })
})
