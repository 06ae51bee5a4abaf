import { join } from 'node:path'
import { giveDatabase, mysqlSuite, mysqlUrlOf, takeDatabase } from './mysql.js'
import { giveSchema, postgresSuite, takeSchema, urlOf } from './postgres.js'

/** What a world's ledger is in. */
export interface Place {
  readonly url: string
  remove(): Promise<void>
}

/** A kind of database that ledgers of tests are in. */
export interface Databases<Name extends string = string> {
  readonly name: Name
  make(folder: string): Promise<Place>
}

/** A file in the folder of the world, which goes with it. */
export const SQLITE: Databases<'SQLite'> = {
  name: 'SQLite',
  make: async (folder) => ({ url: `sqlite:${join(folder, 'ledger.db')}`, remove: async () => {} }),
}

/** A schema of its own in the server's database. */
export const POSTGRES: Databases<'PostgreSQL'> = {
  name: 'PostgreSQL',
  async make() {
    const schema = await takeSchema()
    return { url: urlOf(schema), remove: () => giveSchema(schema) }
  },
}

/** A database of its own on the server. */
export const MYSQL: Databases<'MySQL'> = {
  name: 'MySQL',
  async make() {
    const name = await takeDatabase()
    return { url: mysqlUrlOf(name), remove: () => giveDatabase(name) }
  },
}

let chosen: Databases = SQLITE

/** The kind of database that worlds are in which are not told. */
export const current = (): Databases => chosen

const isSqlite = (): boolean => chosen === SQLITE

/** A test of what only SQLite does, in a suite that runs on others as well. */
export const itOnSqlite = (title: string, test: Mocha.AsyncFunc): void => {
  if (isSqlite()) it(title, test)
}

/** What is said or asked in words of each database's own. */
export const inWordsOf = <T>(words: { readonly sqlite: T; readonly postgres: T; readonly mysql: T }): T =>
  chosen === SQLITE ? words.sqlite : chosen === POSTGRES ? words.postgres : words.mysql

const SUITES = { PostgreSQL: postgresSuite, MySQL: mysqlSuite }

/**
 * Runs the suites of these files (`ledger/moves` is test/ledger/moves.test.ts) once more, with their worlds in a server's database. Only
 * for the top of a test file.
 */
export async function suitesOn(databases: typeof POSTGRES | typeof MYSQL, files: readonly string[]): Promise<void> {
  let own: Mocha.Suite | undefined
  SUITES[databases.name](function () {
    own = this
    before(() => choose(databases))
    after(() => choose(SQLITE))
  })
  const root = own?.parent
  if (!root) throw new Error('suitesOn was called inside a suite')
  const others = root.suites.length
  choose(databases)
  for (const file of files) await import(`../${file}.test.ts?${databases.name}`)
  choose(SQLITE)
  for (const suite of root.suites.splice(others)) own?.addSuite(suite)
}

function choose(databases: Databases): void {
  chosen = databases
}
