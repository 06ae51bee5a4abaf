import { join } from 'node:path'
import { type Brokers, EMBEDDED, RABBIT, rabbitSuite } from './brokers.js'
import { databases, mysqlSuite, mysqlUrlOf } from './mysql.js'
import { type POOLED, poolerSuite } from './pooler.js'
import { postgresSuite, schemas, urlOf } from './postgres.js'

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
    const schema = await schemas.take()
    return { url: urlOf(schema), remove: () => schemas.give(schema) }
  },
}

/** A database of its own on the server. */
export const MYSQL: Databases<'MySQL'> = {
  name: 'MySQL',
  async make() {
    const name = await databases.take()
    return { url: mysqlUrlOf(name), remove: () => databases.give(name) }
  },
}

/** What the worlds of a suite are made of. */
interface Ground {
  readonly ledger: typeof SQLITE | typeof POSTGRES | typeof POOLED | typeof MYSQL
  readonly broker: typeof EMBEDDED | typeof RABBIT
}

const USUAL: Ground = { ledger: SQLITE, broker: EMBEDDED }

let chosen: Ground = USUAL

/** What worlds are made of that are not told. */
export const current = (): { readonly ledger: Databases; readonly broker: Brokers } => chosen

/** A test of what only SQLite does, with the messages in it, in a suite that runs on others as well. */
export const itOnSqlite = (title: string, test: Mocha.AsyncFunc): void => {
  if (chosen.ledger === SQLITE && chosen.broker === EMBEDDED) it(title, test)
}

/** A test of what only the embedded broker does, or only its table shows, in a suite that runs with others as well. */
export const itOnSqlBroker = (title: string, test: Mocha.AsyncFunc): void => {
  if (chosen.broker === EMBEDDED) it(title, test)
}

/** What is said or asked in words of each database's own. */
export const inWordsOf = <T>(words: { readonly sqlite: T; readonly postgres: T; readonly mysql: T }): T =>
  chosen.ledger === SQLITE ? words.sqlite : chosen.ledger === MYSQL ? words.mysql : words.postgres

type SuiteBody = (this: Mocha.Suite) => void

const SUITES: Readonly<Record<Ground['ledger' | 'broker']['name'], (suite: SuiteBody) => void>> = {
  SQLite: (suite) => describe('with SQLite', suite),
  PostgreSQL: postgresSuite,
  PgBouncer: poolerSuite,
  MySQL: mysqlSuite,
  'sql:': (suite) => describe('with the embedded broker', suite),
  RabbitMQ: rabbitSuite,
}

/**
 * Runs the suites of these files (`ledger/moves` is test/ledger/moves.test.ts) once more, with their worlds in a server's database, or
 * their messages in a broker. Only for the top of a test file.
 */
export async function suitesOn(differs: Partial<Ground>, files: readonly string[]): Promise<void> {
  const ground = { ...USUAL, ...differs }
  let own: Mocha.Suite | undefined
  SUITES[ground.ledger.name](() => {
    SUITES[ground.broker.name](function () {
      own = this
      before(() => choose(ground))
      after(() => choose(USUAL))
    })
  })
  let root = own
  while (root?.parent) root = root.parent
  const others = root?.suites.length
  choose(ground)
  for (const file of files) await import(`../${file}.test.ts?${ground.ledger.name}&${ground.broker.name}`)
  choose(USUAL)
  const suites = root?.suites.splice(others ?? 0) ?? []
  if (suites.length === 0) throw new Error('suitesOn was called inside a suite')
  for (const suite of suites) {
    own?.addSuite(suite)
    if (ground.broker === RABBIT) suite.eachTest((test) => void test.timeout(2 * test.timeout())) // rabbitmqctl takes a second and more
  }
}

function choose(ground: Ground): void {
  chosen = ground
}
