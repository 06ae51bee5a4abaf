import { isAbsolute, resolve } from 'node:path'
import { ConfigurationError } from '../task/errors.js'

export interface SqliteUrl {
  readonly kind: 'sqlite'
  /** Absolute, or `:memory:`. */
  readonly filename: string
}

export interface PostgresUrl {
  readonly kind: 'postgres'
  /** As it was given: it may hold a password. */
  readonly secret: string
  /** Without the password. */
  readonly shown: string
  readonly database: string
}

export interface MysqlUrl {
  readonly kind: 'mysql'
  /** As it was given: it may hold a password. */
  readonly secret: string
  /** Without the password. */
  readonly shown: string
  readonly database: string
}

export type DatabaseUrl = SqliteUrl | PostgresUrl | MysqlUrl

/**
 * Reads `sqlite:ledger.db` (relative to `cwd`), `sqlite:/absolute/ledger.db`, `sqlite::memory:`,
 * `postgres://user:password@host:port/database` or `mysql://user:password@host:port/database` (or `mariadb:`).
 *
 * @throws {ConfigurationError} for any other URL
 */
export function parseDatabaseUrl(url: string, cwd: string): DatabaseUrl {
  const scheme = /^[a-z][a-z0-9+.-]*(?=:)/i.exec(url)?.[0].toLowerCase()
  if (scheme === 'sqlite') return sqliteUrl(url, cwd)
  if (scheme === 'postgres' || scheme === 'postgresql') return { kind: 'postgres', ...serverUrl(url, 'postgres') }
  if (scheme === 'mysql' || scheme === 'mariadb') return { kind: 'mysql', ...serverUrl(url, scheme) }
  const shown = scheme === undefined || scheme.length === 1 ? `got: ${url}` : `got a URL that begins with ${scheme}:`
  const expected = 'expected sqlite:FILE, for example sqlite:taskledger.db, postgres://USER@HOST/DATABASE or mysql://USER@HOST/DATABASE'
  throw new ConfigurationError(`the database URL is not one this version knows: ${expected}, ${shown}`)
}

function sqliteUrl(url: string, cwd: string): SqliteUrl {
  const path = url.slice('sqlite:'.length).replace(/^\/\/(?=\/)/, '')
  const expected = 'expected sqlite:FILE, for example sqlite:taskledger.db'
  if (path === '') throw new ConfigurationError(`the database URL names no file: ${expected}, got: ${url}`)
  if (path === ':memory:') return { kind: 'sqlite', filename: path }
  return { kind: 'sqlite', filename: isAbsolute(path) ? path : resolve(cwd, path) }
}

/** What is wrong with it is told without showing it: a password may stand anywhere in it. */
function serverUrl(url: string, scheme: string): Pick<PostgresUrl, 'secret' | 'shown' | 'database'> {
  const expected = `expected ${scheme}://USER:PASSWORD@HOST:PORT/DATABASE, with %-escapes for what is special in a URL`
  const parsed = URL.canParse(url) ? new URL(url) : null
  if (!parsed) throw new ConfigurationError(`the database URL cannot be read: ${expected}`)
  const database = unescaped(parsed.pathname.slice(1))
  if (!database) throw new ConfigurationError(`the database URL names no database: ${expected}`)
  parsed.password = ''
  if (parsed.searchParams.has('password')) parsed.searchParams.delete('password')
  return { secret: url, shown: parsed.href, database }
}

function unescaped(text: string): string | null {
  try {
    return decodeURIComponent(text)
  } catch {
    return null
  }
}
