import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

/** What a server at localhost shows, and those may trust who know it. `await using` removes its files. */
export interface Certificate extends AsyncDisposable {
  readonly cert: string
  readonly key: string
  /** The file of `cert`, for settings that name one. */
  readonly file: string
}

export async function makeCertificate(): Promise<Certificate> {
  const folder = await mkdtemp(join(tmpdir(), 'taskledger-certificate-'))
  const [file, keyFile] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
  const who = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost']
  await promisify(execFile)('openssl', [
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-days',
    '2',
    ...who,
    '-out',
    file,
    '-keyout',
    keyFile,
  ])
  return {
    cert: await readFile(file, 'utf8'),
    key: await readFile(keyFile, 'utf8'),
    file,
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  }
}
