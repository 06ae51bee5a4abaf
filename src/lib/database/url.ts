import { isAbsolute, resolve } from 'node:path'
import { ConfigurationError } from '../task/errors.js'

export interface SqliteUrl {
  readonly kind: 'sqlite'
  /** Absolute, or `:memory:`. */
  readonly filename: string
}

/**
 * Reads `sqlite:ledger.db` (relative to `cwd`), `sqlite:/absolute/ledger.db` or `sqlite::memory:`.
 *
 * @throws {ConfigurationError} for any other URL
 */
export function parseDatabaseUrl(url: string, cwd: string): SqliteUrl {
  const expected = 'expected sqlite:FILE, for example sqlite:taskledger.db'
  const scheme = /^[a-z][a-z0-9+.-]*(?=:)/i.exec(url)?.[0].toLowerCase()
  if (scheme !== 'sqlite') {
    const shown = scheme === undefined || scheme.length === 1 ? `got: ${url}` : `got a URL that begins with ${scheme}:`
    throw new ConfigurationError(`the database URL is not one this version knows: ${expected}, ${shown}`)
  }
  const path = url.slice('sqlite:'.length).replace(/^\/\/(?=\/)/, '')
  if (path === '') throw new ConfigurationError(`the database URL names no file: ${expected}, got: ${url}`)
  if (path === ':memory:') return { kind: 'sqlite', filename: path }
  return { kind: 'sqlite', filename: isAbsolute(path) ? path : resolve(cwd, path) }
}
