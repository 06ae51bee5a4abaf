import { MIGRATIONS } from '../../../migrations/index.js'
import { ConfigurationError, UsageError } from '../task/errors.js'
import type { Database } from './database.js'
import type { Sql } from './sql.js'

const TABLE = 'taskledger_migrations'

export interface MigrationStatus {
  readonly applied: readonly string[]
  readonly pending: readonly string[]
  /** Applied to the database by a newer program than this one. */
  readonly unknown: readonly string[]
}

/** Which migrations the database has, in their order. Reads only, also on a database that has none. */
export async function migrationStatus(sql: Sql): Promise<MigrationStatus> {
  const tables = await sql.all(sql.dialect.hasTable, [TABLE])
  const rows = tables.length === 0 ? [] : await sql.all<{ name: string }>(`SELECT name FROM ${TABLE} ORDER BY id`, [])
  const names = rows.map((row) => row.name)
  const known = Object.keys(MIGRATIONS)
  return {
    applied: names.filter((name) => known.includes(name)),
    pending: known.filter((name) => !names.includes(name)),
    unknown: names.filter((name) => !known.includes(name)),
  }
}

/** @param sql the database, or a transaction on it */
async function statusIfKnown({ name }: Database, sql: Sql): Promise<MigrationStatus> {
  const status = await migrationStatus(sql)
  if (status.unknown.length === 0) return status
  throw new ConfigurationError(`the schema of ${name} is newer than this program: it has ${status.unknown.join(', ')}`, {
    hint: 'install the taskledger version that made it, or a later one',
  })
}

/** @throws {ConfigurationError} when the schema is older or newer than this program */
export async function checkSchema(database: Database): Promise<void> {
  const { applied, pending } = await statusIfKnown(database, database)
  if (applied.length === 0) {
    throw new ConfigurationError(`there is no ledger in ${database.name}`, {
      hint: `make one with: taskledger migrate --database ${database.url}`,
    })
  }
  if (pending.length > 0) {
    throw new ConfigurationError(`the schema of ${database.name} is older than this program: it lacks ${pending.join(', ')}`, {
      hint: `run: taskledger migrate --database ${database.url}`,
    })
  }
}

export interface MigrationStep {
  readonly name: string
  readonly direction: 'up' | 'down'
}

/**
 * What `migrateTo` would do.
 *
 * @param target a migration's name; `zero`: none; default: the newest
 * @throws {UsageError} when no migration has that name
 * @throws {ConfigurationError} when the schema is newer than this program
 */
export async function migrationPlan(database: Database, target?: string): Promise<MigrationStep[]> {
  return stepsTo(target, await statusIfKnown(database, database))
}

function stepsTo(target: string | undefined, { applied, pending }: MigrationStatus): MigrationStep[] {
  const known = Object.keys(MIGRATIONS)
  const last = target === undefined ? known.length : target === 'zero' ? 0 : known.indexOf(target) + 1
  if (target !== undefined && target !== 'zero' && last === 0) {
    throw new UsageError(`there is no migration named ${target}; expected zero or one of ${known.join(', ')}`)
  }
  const down = applied.filter((name) => known.indexOf(name) >= last).reverse()
  const up = pending.filter((name) => known.indexOf(name) < last)
  return [...down.map((name) => ({ name, direction: 'down' as const })), ...up.map((name) => ({ name, direction: 'up' as const }))]
}

/** Takes the database forward or back to `target`, one migration at a time. Any number of programs may do so at one time. */
export async function migrateTo(
  database: Database,
  target?: string,
  done: (step: MigrationStep) => void = () => {},
): Promise<MigrationStep[]> {
  const steps: MigrationStep[] = []
  while ((await migrationPlan(database, target)).length > 0) {
    const step = await takeStep(database, target)
    if (!step) break // another program was quicker
    done(step)
    steps.push(step)
  }
  return steps
}

/**
 * The choice of the step and all of its work are one transaction, so a program that dies in it leaves nothing behind, not even knex's
 * lock. MySQL commits whatever makes a table: there a step that was left half done is done again, under the lock of `migrating` alone.
 */
async function takeStep(database: Database, target: string | undefined): Promise<MigrationStep | undefined> {
  const config = {
    tableName: TABLE,
    disableTransactions: !database.dialect.undoesTables,
    migrationSource: {
      getMigrations: async () => Object.keys(MIGRATIONS),
      getMigrationName: (name: string) => name,
      getMigration: async (name: string) => MIGRATIONS[name] ?? Promise.reject(new Error(`no migration ${name}`)),
    },
  }
  return database.migrating(async (trx, sql) => {
    const [step] = stepsTo(target, await statusIfKnown(database, sql))
    if (step && !sql.dialect.undoesTables) await trx.migrate.forceFreeMigrationsLock(config)
    if (step) await trx.migrate[step.direction]({ ...config, ...(step.direction === 'up' ? { name: step.name } : {}) })
    return step
  })
}
