import pg from 'pg'
import { serviceSuite } from './services.js'
import { NUMBERED, SpareLedgers, TABLES } from './spare-ledgers.js'

/** Where tests find a server, and may make what they like. */
const SERVER = process.env['TEST_POSTGRES'] ?? 'postgres://root@127.0.0.1:5432/test'

/** The server's database as a program sees it to whom one schema is all there is. */
export const urlOf = (schema: string): string => `${SERVER}?options=-c%20search_path%3D${schema}`

/** The same server with something else in its URL. */
export function serverUrl(change: (url: URL) => unknown): string {
  const url = new URL(SERVER)
  change(url)
  return url.href
}

/** All that is in a schema, in words. */
const CONTENTS = `SELECT string_agg(what, ' ' ORDER BY what) AS contents FROM (
    SELECT relname::text AS what FROM pg_class WHERE relnamespace = current_schema()::regnamespace
    UNION ALL SELECT tgname::text FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid WHERE relnamespace = current_schema()::regnamespace
    UNION ALL SELECT proname::text FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
    UNION ALL SELECT name::text FROM taskledger_migrations) AS all_of_it`

/** A connection of the tests' own, in no schema. */
let own: Promise<pg.Client> | null = null

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

/** Each a schema of its own. */
export const schemas = new SpareLedgers({
  urlOf,
  make: (name) => onServer(`CREATE SCHEMA ${name}`),
  async contents(name) {
    const results = (await within(name, CONTENTS)) as unknown as pg.QueryResult[]
    return results.at(-1)?.rows[0]?.contents
  },
  async empty(name) {
    const empty = TABLES.map((table) => `DELETE FROM ${table}`)
    const anew = NUMBERED.map((table) => `SELECT setval('${table}_id_seq', 1, false)`)
    await within(name, [...empty, ...anew].join('; '))
  },
  drop: (name) => onServer(`DROP SCHEMA ${name} CASCADE`),
})

/** A suite that needs a PostgreSQL server. */
export function postgresSuite(suite: (this: Mocha.Suite) => void): void {
  serviceSuite(
    'PostgreSQL',
    () => onServer('SELECT 1'),
    function () {
      suite.call(this)
      after(async () => {
        await schemas.dropAll()
        await (await own?.catch(() => null))?.end()
        own = null
      })
    },
  )
}
