import mysql from 'mysql2/promise'
import { serviceSuite } from './services.js'
import { NUMBERED, SpareLedgers, TABLES } from './spare-ledgers.js'

/** Where tests find a server, and may make what they like. */
const SERVER = process.env['TEST_MYSQL'] ?? 'mysql://root@127.0.0.1:3306/test'

/** The same server with something else in its URL. */
export function mysqlUrl(change: (url: URL) => unknown): string {
  const url = new URL(SERVER)
  change(url)
  return url.href
}

/** A database of the server. */
export const mysqlUrlOf = (database: string): string => mysqlUrl((url) => Object.assign(url, { pathname: `/${database}` }))

/** All that is in a database, in words. */
const contents = (database: string): string => `
  SELECT concat('table ', table_name) AS what FROM information_schema.tables WHERE table_schema = '${database}'
  UNION ALL SELECT concat('index ', table_name, ' ', index_name) FROM information_schema.statistics WHERE table_schema = '${database}'
  UNION ALL SELECT concat('trigger ', trigger_name) FROM information_schema.triggers WHERE trigger_schema = '${database}'
  UNION ALL SELECT concat('routine ', routine_name) FROM information_schema.routines WHERE routine_schema = '${database}'
  UNION ALL SELECT concat('migration ', name) FROM ${database}.taskledger_migrations
  ORDER BY 1`

/** A connection of the tests' own. */
let own: Promise<mysql.Connection> | null = null

/** Runs a statement on the server. */
export async function onMysql(statement: string): Promise<readonly Record<string, unknown>[]> {
  own ??= mysql.createConnection({ uri: SERVER, connectTimeout: 2000 })
  own.catch(() => {
    own = null
  })
  const [rows] = await (await own).query(statement)
  return rows as Record<string, unknown>[]
}

/** Each a database of its own. */
export const databases = new SpareLedgers({
  urlOf: mysqlUrlOf,
  make: (name) => onMysql(`CREATE DATABASE ${name}`),
  contents: async (name) => (await onMysql(contents(name))).map(({ what }) => what).join('\n'),
  async empty(name) {
    for (const table of TABLES) await onMysql(`DELETE FROM ${name}.${table}`)
    for (const table of NUMBERED) await onMysql(`ALTER TABLE ${name}.${table} AUTO_INCREMENT = 1`)
  },
  drop: (name) => onMysql(`DROP DATABASE ${name}`),
})

/** A suite that needs a MySQL or MariaDB server. */
export function mysqlSuite(suite: (this: Mocha.Suite) => void): void {
  serviceSuite(
    'MySQL',
    () => onMysql('SELECT 1'),
    function () {
      suite.call(this)
      after(async () => {
        await databases.dropAll()
        await (await own?.catch(() => null))?.end()
        own = null
      })
    },
  )
}
