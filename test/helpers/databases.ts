import { join } from 'node:path'
import { giveSchema, postgresSuite, takeSchema, urlOf } from './postgres.js'

/** What a world's ledger is in. */
export interface Place {
  readonly url: string
  remove(): Promise<void>
}

/** A kind of database that ledgers of tests are in. */
export interface Databases {
  readonly name: 'SQLite' | 'PostgreSQL'
  make(folder: string): Promise<Place>
}

/** A file in the folder of the world, which goes with it. */
export const SQLITE: Databases = {
  name: 'SQLite',
  make: async (folder) => ({ url: `sqlite:${join(folder, 'ledger.db')}`, remove: async () => {} }),
}

/** A schema of its own in the server's database. */
export const POSTGRES: Databases = {
  name: 'PostgreSQL',
  async make() {
    const schema = await takeSchema()
    return { url: urlOf(schema), remove: () => giveSchema(schema) }
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
export const inWordsOf = <T>(words: { readonly sqlite: T; readonly postgres: T }): T => (isSqlite() ? words.sqlite : words.postgres)

/**
 * Runs the suites of these files (`ledger/moves` is test/ledger/moves.test.ts) once more, with their worlds in PostgreSQL. Only
 * for the top of a test file.
 */
export async function suitesOnPostgres(files: readonly string[]): Promise<void> {
  let own: Mocha.Suite | undefined
  postgresSuite(function () {
    own = this
    before(() => choose(POSTGRES))
    after(() => choose(SQLITE))
  })
  const root = own?.parent
  if (!root) throw new Error('suitesOnPostgres was called inside a suite')
  const others = root.suites.length
  choose(POSTGRES)
  for (const file of files) await import(`../${file}.test.ts?postgres`)
  choose(SQLITE)
  for (const suite of root.suites.splice(others)) own?.addSuite(suite)
}

function choose(databases: Databases): void {
  chosen = databases
}
