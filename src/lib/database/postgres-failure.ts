import { BusyError, ConfigurationError, UnavailableError, UsageError } from '../task/errors.js'

/** PostgreSQL's SQLSTATE, or Node's code of a failed connection; empty for any other error. */
function postgresCode(error: unknown): string {
  const code: unknown = error instanceof Error && 'code' in error ? error.code : ''
  return typeof code === 'string' ? code : ''
}

/** Two commits wanted each other's rows, and this one gave way. */
export const gaveWay = (error: unknown): boolean => ['40001', '40P01'].includes(postgresCode(error))

/** The connection is gone: the server ended it, or the way to it broke. */
export const isLost = (error: unknown): boolean =>
  /^(57P0[123]|08...|ECONNRESET|EPIPE|ETIMEDOUT)$/.test(postgresCode(error)) ||
  (error instanceof Error && /^(Connection terminated|Client has encountered a connection error|Connection ended)/.test(error.message))

const UNREACHABLE = /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|ENOENT|EACCES|53100|53200|58...|XX00[12])$/
/** There is no connection, and none to be had just now. */
export const isAway = (error: unknown): boolean => isLost(error) || /^(ECONNREFUSED|EHOSTUNREACH|ENETUNREACH)$/.test(postgresCode(error))

const REFUSED = /^(28P01|28000)$/
const UNTRUSTED = /CERT|SIGNATURE|ISSUER|^ERR_(TLS|SSL)/

/** Texts that PostgreSQL's driver has no code for. */
const DRIVER: readonly (readonly [text: RegExp, hint: string])[] = [
  [/password must be a (non-empty )?string|client password/, 'give the password in the URL, or in PGPASSWORD or ~/.pgpass'],
  [/does not support SSL/, 'take sslmode out of the URL, or have the server speak TLS'],
]

/** What a code means for the person who runs the program: the end of a sentence that begins with the database's name, and what to do. */
const CONFIGURATION: Readonly<Record<string, readonly [what: string, hint: string]>> = {
  '3D000': ['is not there', 'make it first: createdb; then run: taskledger migrate'],
  '42501': ['does not let this user do that', 'grant the user the right to use, and for migrate to create, tables in its schema'],
  '3F000': ['has no schema to make tables in', 'create the schema that the search_path of this user names'],
  '25006': ['cannot be written: it was opened to read, or is a standby', 'name the primary server in the database setting'],
}

/**
 * The same failure in words for the person who runs the program, or `error` itself when it is none of the
 * surroundings' (a bug, a constraint). Never holds a bound value, nor a password.
 */
export function describePostgresFailure(error: unknown, name: string): unknown {
  if (!(error instanceof Error)) return error
  const code = postgresCode(error)
  const { message } = error.cause instanceof Error ? error.cause : error
  if (error.name === 'KnexTimeoutError') {
    return new BusyError(`every connection of this process to ${name} is in use`, {
      cause: error,
      hint: 'publish inside a transaction with { trx }',
    })
  }
  if (gaveWay(error) || /^(55P03|57014|53300)$/.test(code)) {
    return new BusyError(`the database ${name} is busy: ${message}`, { cause: error, hint: 'run it again in a moment' })
  }
  if (REFUSED.test(code)) {
    const hint = 'check the user and the password in the database setting'
    return new ConfigurationError(`the database ${name} refuses this user: ${message}`, { cause: error, hint })
  }
  const known = CONFIGURATION[code]
  if (known) return new ConfigurationError(`the database ${name} ${known[0]}: ${message}`, { cause: error, hint: known[1] })
  const driver = DRIVER.find(([text]) => text.test(message))
  if (driver) return new ConfigurationError(`the database ${name} cannot be opened: ${message}`, { cause: error, hint: driver[1] })
  if (UNTRUSTED.test(code)) {
    const hint = 'give the certificate of its authority with sslrootcert in the URL'
    return new ConfigurationError(`the certificate of the database ${name} is not trusted: ${message}`, { cause: error, hint })
  }
  if (/^(22021|22P05)$/.test(code)) {
    return new UsageError('PostgreSQL cannot hold or look for a text with a NUL character in it', { cause: error })
  }
  if (isLost(error) || UNREACHABLE.test(code)) {
    return new UnavailableError(`the database ${name} cannot be reached: ${message || code}`, {
      cause: error,
      hint: 'check that the server runs, and the host and port in the database setting',
    })
  }
  return error
}
