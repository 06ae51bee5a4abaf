import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { Database } from '../../src/lib/database/database.js'
import { migrateTo } from '../../src/lib/database/migrate.js'
import { serviceSuite } from './services.js'

/** Where tests find a server, and may make what they like. */
const SERVER = process.env['TEST_POSTGRES'] ?? 'postgres://root@127.0.0.1:5432/test'

/** The server's database as a program sees it to whom one schema is all there is. */
export const urlOf = (schema: string): string => `${SERVER}?options=-c%20search_path%3D${schema}`

/** The same server with something else in its URL. */
export function serverUrl(change: (url: URL) => void): string {
  const url = new URL(SERVER)
  change(url)
  return url.href
}

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
const SEQUENCES = ['task_result', 'task_attempt', 'task_message']

/** All that is in a schema, in words. */
const CONTENTS = `SELECT string_agg(what, ' ' ORDER BY what) AS contents FROM (
    SELECT relname::text AS what FROM pg_class WHERE relnamespace = current_schema()::regnamespace
    UNION ALL SELECT tgname::text FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid WHERE relnamespace = current_schema()::regnamespace
    UNION ALL SELECT proname::text FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
    UNION ALL SELECT name::text FROM taskledger_migrations) AS all_of_it`

/** A connection of the tests' own, in no schema. */
let own: Promise<pg.Client> | null = null

/** Schemas with an empty ledger in them, which is quicker to be had than a new one. */
const free: string[] = []
const made = new Set<string>()
let expected: string | null = null

async function connect(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: SERVER, connectionTimeoutMillis: 2000 })
  client.on('error', () => {}) // whoever asks next sees it
  await client.connect()
  return client
}

/** What has been asked of that connection; one statement after the other. */
let asked: Promise<unknown> = Promise.resolve()

/** Runs a statement on the server. */
export function onServer(statement: string): Promise<pg.QueryResult> {
  const answered = asked.then(() => ask(statement))
  asked = answered.catch(() => {})
  return answered
}

async function ask(statement: string): Promise<pg.QueryResult> {
  own ??= connect()
  own.catch(() => {
    own = null
  })
  return (await own).query(statement)
}

const within = (schema: string, statements: string) => onServer(`SET search_path = ${schema}; ${statements}`)

/** The name of a schema with an empty ledger in it. */
export async function takeSchema(): Promise<string> {
  const known = free.pop()
  if (known !== undefined) return known
  const schema = await newSchema()
  const database = await Database.open(urlOf(schema), 'create')
  try {
    await migrateTo(database)
  } finally {
    await database.close()
  }
  expected ??= await contentsOf(schema)
  return schema
}

/** The name of a schema with nothing in it. */
export async function newSchema(): Promise<string> {
  const schema = `world_${randomBytes(6).toString('hex')}`
  await onServer(`CREATE SCHEMA ${schema}`)
  made.add(schema)
  return schema
}

/** Empties a schema for another test; one that is no longer a ledger and nothing else is dropped. */
export async function giveSchema(schema: string): Promise<void> {
  if ((await contentsOf(schema).catch(() => null)) !== expected) return dropSchema(schema)
  const empty = TABLES.map((table) => `DELETE FROM ${table}`)
  const anew = SEQUENCES.map((table) => `SELECT setval('${table}_id_seq', 1, false)`)
  await within(schema, [...empty, ...anew].join('; '))
  free.push(schema)
}

async function contentsOf(schema: string): Promise<string> {
  const results = (await within(schema, CONTENTS)) as unknown as pg.QueryResult[]
  return results.at(-1)?.rows[0]?.contents
}

async function dropSchema(schema: string): Promise<void> {
  made.delete(schema)
  await onServer(`DROP SCHEMA ${schema} CASCADE`)
}

/** A suite that needs a PostgreSQL server. */
export function postgresSuite(suite: (this: Mocha.Suite) => void): void {
  serviceSuite(
    'PostgreSQL',
    () => onServer('SELECT 1'),
    function () {
      suite.call(this)
      after(async () => {
        free.length = 0
        for (const schema of made) await dropSchema(schema)
        await (await own?.catch(() => null))?.end()
        own = null
      })
    },
  )
}
