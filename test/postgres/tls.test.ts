import assert from 'node:assert/strict'
import { type Certificate, makeCertificate } from '../helpers/certificate.js'
import { type Folder, openFolder } from '../helpers/folder.js'
import { type OwnServer, ownPostgres } from '../helpers/own-server.js'
import { needs } from '../helpers/services.js'

describe('a ledger in a PostgreSQL that wants TLS and a password', function () {
  this.timeout(60_000)
  let certificate: Certificate
  let server: OwnServer
  let folder: Folder

  before(async function () {
    await needs(this, 'PostgreSQL to start', 'OpenSSL')
    certificate = await makeCertificate()
    server = await ownPostgres(certificate)
    folder = await openFolder()
  })

  after(async () => {
    await folder?.[Symbol.asyncDispose]()
    await server?.[Symbol.asyncDispose]()
    await certificate?.[Symbol.asyncDispose]()
  })

  /** What a command says there, its password aside. */
  const listing = async (change: (url: URL) => void) => {
    const url = new URL(server.url)
    change(url)
    const { code, stdout, stderr } = await folder.run(['list', '--database', url.href])
    assert.doesNotMatch(stdout + stderr, /s3cret/)
    return { code, stderr }
  }

  it('is made and read by who trusts its certificate and knows the password', async () => {
    const { code, stderr } = await folder.run(['migrate', '--database', server.url])
    assert.equal(code, 0, stderr)
    assert.deepEqual(await listing(() => {}), { code: 0, stderr: 'No tasks.\n' })
  })

  it('is refused with exit 78 by a wrong password', async () => {
    const { code, stderr } = await listing((url) => {
      url.password = 's3cret-wrong'
    })
    assert.equal(code, 78)
    assert.match(stderr, /refuses this user: password authentication failed for user "postgres"\n {2}check the user and the password/)
  })

  it('is refused with exit 78 when its certificate is not trusted', async () => {
    const { code, stderr } = await listing((url) => url.searchParams.delete('sslrootcert'))
    assert.equal(code, 78)
    assert.match(
      stderr,
      /^taskledger: the certificate of the database .* is not trusted: self-signed certificate\n {2}give the certificate/,
    )
  })

  it('is refused with exit 78 when its certificate is of another host', async () => {
    const { code, stderr } = await listing((url) => {
      url.hostname = '127.0.0.1'
    })
    assert.equal(code, 78)
    assert.match(stderr, /^taskledger: the certificate of the database .* is not trusted: Hostname\/IP does not match/)
  })

  it('is refused with exit 78 without TLS', async () => {
    const { code, stderr } = await listing((url) => {
      url.search = ''
    })
    assert.equal(code, 78)
    assert.match(stderr, /refuses this user: no pg_hba.conf entry for host "127.0.0.1", user "postgres", .*, no encryption/)
  })
})
