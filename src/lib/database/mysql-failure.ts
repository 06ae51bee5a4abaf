import { BusyError, ConfigurationError, UnavailableError } from '../task/errors.js'

/** MySQL's number of an error; 0 for any other. */
function numberOf(error: unknown): number {
  const number: unknown = error instanceof Error && 'errno' in error ? error.errno : 0
  return typeof number === 'number' && number > 0 ? number : 0
}

/** Node's or the driver's code of a failed connection. */
function codeOf(error: unknown): string {
  const code: unknown = error instanceof Error && 'code' in error ? error.code : ''
  return typeof code === 'string' ? code : ''
}

/** A row of that key is there already. */
export const isTaken = (error: unknown): boolean => numberOf(error) === 1062

/** Two commits wanted each other's rows, and this one gave way: all of it is rolled back. */
export const gaveWay = (error: unknown): boolean => numberOf(error) === 1213

/** Another transaction did not let go of a row in time. */
export const waitedInVain = (error: unknown): boolean => numberOf(error) === 1205

/** The server is shutting down, ended the connection, or found it idle for too long. */
const ENDED: readonly number[] = [1053, 1077, 1079, 1080, 1152, 1158, 1159, 1160, 1161, 1184, 1927, 4031]

/** The connection is gone: the server ended it, or the way to it broke. */
export const isLost = (error: unknown): boolean =>
  ENDED.includes(numberOf(error)) ||
  /^(PROTOCOL_CONNECTION_LOST|PROTOCOL_ENQUEUE_AFTER_\w+|ECONNRESET|EPIPE|ETIMEDOUT)$/.test(codeOf(error)) ||
  (error instanceof Error && /^Can't add new command when connection is in closed state/.test(error.message))

/** There is no connection, and none to be had just now. */
export const isAway = (error: unknown): boolean => isLost(error) || /^(ECONNREFUSED|EHOSTUNREACH|ENETUNREACH)$/.test(codeOf(error))

const UNREACHABLE = /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|ENOENT|EACCES)$/
const UNTRUSTED = /CERT|SIGNATURE|ISSUER|^ERR_(TLS|SSL)|^HANDSHAKE_/

/** Too many connections, or a statement that was stopped. */
const BUSY: readonly number[] = [1040, 1203, 1226, 1317, 1969, 3024]

/** Disk or memory is full, or a table is broken. */
const BROKEN: readonly number[] = [1021, 1030, 1034, 1037, 1041, 1114, 1194, 1195]

const REFUSED = ['refuses this user', 'check the user and the password in the database setting'] as const
const FORBIDDEN = ['does not let this user do that', 'grant the user the right to use, and for migrate to create, its tables'] as const
const READ_ONLY = ['cannot be written: it was opened to read, or is a replica', 'name the primary server in the database setting'] as const

/** What a number means for the person who runs the program: the end of a sentence that begins with the database's name, and what to do. */
const CONFIGURATION: Readonly<Record<number, readonly [what: string, hint: string]>> = {
  1044: FORBIDDEN,
  1045: REFUSED,
  1049: ['is not there', 'make it first: CREATE DATABASE; then run: taskledger migrate'],
  1050: ["has a table of this name that is not the ledger's", 'give the ledger a database of its own'],
  1130: REFUSED,
  1142: FORBIDDEN,
  1143: FORBIDDEN,
  1153: ['takes no statement of this size', 'raise max_allowed_packet of the server, or give tasks less to carry'],
  1227: FORBIDDEN,
  1251: REFUSED,
  1290: READ_ONLY,
  1370: FORBIDDEN,
  1665: ['logs statements, not rows', 'set binlog_format of the server to ROW or MIXED'],
  1698: REFUSED,
  1792: READ_ONLY,
  1836: READ_ONLY,
}

/**
 * The same failure in words for the person who runs the program, or `error` itself when it is none of the
 * surroundings' (a bug, a constraint). Never holds a bound value, nor a password.
 */
export function describeMysqlFailure(error: unknown, name: string): unknown {
  if (!(error instanceof Error)) return error
  const number = numberOf(error)
  // knex puts the statement in front of what the server said
  const message = 'sqlMessage' in error ? String(error.sqlMessage) : error.message
  const cause = { cause: error }
  if (error.name === 'KnexTimeoutError') {
    const hint = 'publish inside a transaction with { trx }'
    return new BusyError(`every connection of this process to ${name} is in use`, { ...cause, hint })
  }
  if (gaveWay(error) || waitedInVain(error) || BUSY.includes(number)) {
    return new BusyError(`the database ${name} is busy: ${message}`, { ...cause, hint: 'run it again in a moment' })
  }
  const known = CONFIGURATION[number]
  if (known) return new ConfigurationError(`the database ${name} ${known[0]}: ${message}`, { ...cause, hint: known[1] })
  if (UNTRUSTED.test(codeOf(error))) {
    const hint = 'give the certificate of its authority in ssl of the URL, or take ssl out of it'
    return new ConfigurationError(`the database ${name} cannot be spoken to over TLS: ${message}`, { ...cause, hint })
  }
  if (BROKEN.includes(number)) return new UnavailableError(`the database ${name} failed: ${message}`, cause)
  if (isLost(error) || UNREACHABLE.test(codeOf(error))) {
    const hint = 'check that the server runs, and the host and port in the database setting'
    return new UnavailableError(`the database ${name} cannot be reached: ${message || codeOf(error)}`, { ...cause, hint })
  }
  return error
}
