import knex, { type Knex } from 'knex'
import type { Connection } from 'mysql2'
import { ConfigurationError } from '../task/errors.js'

/** Connections of one process: one for its commits, the others for reads and callers' transactions. */
const POOL = 10

/** How long a server may take to answer a new connection, and a caller may wait for one that is free. */
const CONNECT_MS = 10_000

/** What each connection begins with. A text that is too long is refused, not cut; a row that another holds is waited for a while. */
const SESSION = [
  'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',
  "SET SESSION sql_mode = 'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', innodb_lock_wait_timeout = 5",
]

/** @throws {ConfigurationError} without mysql2 */
export async function requireMysql2(): Promise<void> {
  try {
    await import('mysql2')
  } catch (error) {
    if (error instanceof Error && 'code' in error && /^(ERR_)?MODULE_NOT_FOUND$/.test(String(error.code))) {
      throw new ConfigurationError('a ledger in MySQL or MariaDB needs the package mysql2, which is not installed', {
        cause: error,
        hint: 'install mysql2: npm install mysql2',
      })
    }
    throw error
  }
}

export function openMysqlPool(uri: string): Knex {
  return knex({
    client: 'mysql2',
    connection: {
      uri,
      charset: 'utf8mb4',
      flags: '-LOCAL_FILES',
      multipleStatements: false,
      connectTimeout: CONNECT_MS,
    } as Knex.MySql2ConnectionConfig,
    compileSqlOnError: false, // an error message must not carry task arguments
    acquireConnectionTimeout: CONNECT_MS,
    log: { warn: () => {} }, // knex prints to stdout, with a stack, what it then throws as well
    pool: {
      min: 0,
      max: POOL,
      afterCreate: (connection: Connection, done: (error: Error | null, connection: Connection) => void) => {
        const [first = '', second = ''] = SESSION
        connection.query(first, (failed) =>
          failed ? done(failed, connection) : connection.query(second, (error) => done(error, connection)),
        )
      },
    },
  })
}
