import { randomBytes } from 'node:crypto'
import mysql from 'mysql2/promise'
import { Database } from '../../src/lib/database/database.js'
import { migrateTo } from '../../src/lib/database/migrate.js'
import { serviceSuite } from './services.js'

/** Where tests find a server, and may make what they like. */
const SERVER = process.env['TEST_MYSQL'] ?? 'mysql://root@127.0.0.1:3306/test'

/** The same server with something else in its URL. */
export function mysqlUrl(change: (url: URL) => void): string {
  const url = new URL(SERVER)
  change(url)
  return url.href
}

/** A database of the server. */
export const mysqlUrlOf = (database: string): string => mysqlUrl((url) => Object.assign(url, { pathname: `/${database}` }))

const TABLES = [
  'task_result',
  'task_attempt',
  'task_message',
  'task_rate',
  'task_worker',
  'task_group',
  'task_group_member',
  'celery_outbox',
]

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

/** Databases with an empty ledger in them, which is quicker to be had than a new one. */
const free: string[] = []
const made = new Set<string>()
let expected: string | null = null

/** Runs a statement on the server. */
export async function onMysql(statement: string): Promise<readonly Record<string, unknown>[]> {
  own ??= mysql.createConnection({ uri: SERVER, connectTimeout: 2000 })
  own.catch(() => {
    own = null
  })
  const [rows] = await (await own).query(statement)
  return rows as Record<string, unknown>[]
}

/** The name of a database with an empty ledger in it. */
export async function takeDatabase(): Promise<string> {
  const known = free.pop()
  if (known !== undefined) return known
  const name = await newDatabase()
  const database = await Database.open(mysqlUrlOf(name), 'create')
  try {
    await migrateTo(database)
  } finally {
    await database.close()
  }
  expected ??= await contentsOf(name)
  return name
}

/** The name of a database with nothing in it. */
export async function newDatabase(): Promise<string> {
  const name = `world_${randomBytes(6).toString('hex')}`
  await onMysql(`CREATE DATABASE ${name}`)
  made.add(name)
  return name
}

/** Empties a database for another test; one that is no longer a ledger and nothing else is dropped. */
export async function giveDatabase(name: string): Promise<void> {
  if ((await contentsOf(name).catch(() => null)) !== expected) return dropDatabase(name)
  for (const table of TABLES) {
    await onMysql(`DELETE FROM ${name}.${table}`)
    if (['task_result', 'task_attempt', 'task_message'].includes(table)) await onMysql(`ALTER TABLE ${name}.${table} AUTO_INCREMENT = 1`)
  }
  free.push(name)
}

const contentsOf = async (name: string): Promise<string> => (await onMysql(contents(name))).map(({ what }) => what).join('\n')

async function dropDatabase(name: string): Promise<void> {
  made.delete(name)
  await onMysql(`DROP DATABASE ${name}`)
}

/** A suite that needs a MySQL or MariaDB server. */
export function mysqlSuite(suite: (this: Mocha.Suite) => void): void {
  serviceSuite(
    'MySQL',
    () => onMysql('SELECT 1'),
    function () {
      suite.call(this)
      after(async () => {
        free.length = 0
        for (const name of made) await dropDatabase(name)
        await (await own?.catch(() => null))?.end()
        own = null
      })
    },
  )
}
