import assert from 'node:assert/strict'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { Database } from '../../src/lib/database/database.js'
import { checkSchema, migrateTo, migrationPlan, migrationStatus } from '../../src/lib/database/migrate.js'
import { ConfigurationError, UsageError } from '../../src/lib/task/errors.js'
import { inWordsOf, itOnSqlite } from '../helpers/databases.js'
import { openWorld, type World } from '../helpers/world.js'

const NAMES = ['0001_ledger', '0002_workflows', '0003_celery_results']
const NEWEST = '0003_celery_results'

const TABLES = ['task_attempt', 'task_group', 'task_group_member', 'task_message', 'task_rate', 'task_result', 'task_worker']

/** Every table and index, in words. */
const schemaOf = async ({ database }: World): Promise<unknown[]> => database.all(inWordsOf(SCHEMA), [])

const SCHEMA = {
  sqlite:
    "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' AND name NOT LIKE 'taskledger_%' ORDER BY type, name",
  postgres: `
    SELECT c.relkind::text AS type, c.relname::text AS name, coalesce(array_to_string(c.reloptions, ', '), '') AS options,
        coalesce(pg_get_indexdef(c.oid), (SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull || ' ' || a.attcollation, ', ' ORDER BY a.attnum)
          FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)) AS sql
      FROM pg_class AS c WHERE c.relnamespace = current_schema()::regnamespace AND c.relname NOT LIKE 'taskledger%'
    UNION ALL SELECT 'constraint', conname::text, '', pg_get_constraintdef(oid) FROM pg_constraint
      WHERE connamespace = current_schema()::regnamespace AND conname NOT LIKE 'taskledger%'
    UNION ALL SELECT 'function', proname::text, provolatile::text, prosrc FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
    UNION ALL SELECT 'trigger', tgname::text, '', regexp_replace(pg_get_triggerdef(t.oid), 'world_\\w+', '') FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = tgrelid
      WHERE relnamespace = current_schema()::regnamespace
    ORDER BY 1, 2`,
  mysql: `
    SELECT 'column' AS type, concat(table_name, ' ', column_name) AS name, concat_ws(' ', column_type, is_nullable, column_default, collation_name, extra, generation_expression) AS sql_text
      FROM information_schema.columns WHERE table_schema = database() AND table_name NOT LIKE 'taskledger%'
    UNION ALL SELECT 'index', concat(table_name, ' ', index_name, ' ', seq_in_index), concat_ws(' ', column_name, collation, non_unique)
      FROM information_schema.statistics WHERE table_schema = database() AND table_name NOT LIKE 'taskledger%'
    UNION ALL SELECT 'constraint', constraint_name, check_clause FROM information_schema.check_constraints WHERE constraint_schema = database()
    ORDER BY 1, 2`,
}

const tables = async ({ database }: World): Promise<string[]> =>
  (await database.all<{ name: string }>(inWordsOf(TABLE_NAMES), [])).map(({ name }) => name)

const TABLE_NAMES = {
  sqlite: "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'task^_%' ESCAPE '^' ORDER BY name",
  postgres:
    "SELECT tablename::text AS name FROM pg_tables WHERE schemaname = current_schema() AND tablename LIKE 'task^_%' ESCAPE '^' ORDER BY 1",
  mysql:
    "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = database() AND table_name LIKE 'task^_%' ESCAPE '^' ORDER BY 1",
}

describe('a migration', () => {
  it('makes every table of the ledger', async () => {
    await using w = await openWorld()
    assert.deepEqual(await tables(w), TABLES)
    assert.deepEqual(await migrationStatus(w.database), { applied: NAMES, pending: [], unknown: [] })
  })

  it('is not made twice', async () => {
    await using w = await openWorld()
    assert.deepEqual(await migrateTo(w.database), [])
  })

  it('goes back to nothing, and forward to the schema it was', async () => {
    await using w = await openWorld()
    const fresh = await schemaOf(w)
    assert.deepEqual(
      await migrateTo(w.database, 'zero'),
      [...NAMES].reverse().map((name) => ({ name, direction: 'down' })),
    )
    assert.deepEqual(await tables(w), [])
    const told: string[] = []
    assert.deepEqual(
      await migrateTo(w.database, NEWEST, ({ name, direction }) => told.push(`${direction} ${name}`)),
      NAMES.map((name) => ({ name, direction: 'up' })),
    )
    assert.deepEqual(
      told,
      NAMES.map((name) => `up ${name}`),
    )
    assert.deepEqual(await schemaOf(w), fresh)
  })

  it('takes back what came last and leaves the rows of before, and forward again', async () => {
    await using w = await openWorld()
    await w.app.sendTask('add', [1, 2], { taskId: 'kept' })
    const fresh = await schemaOf(w)
    await migrateTo(w.database, '0001_ledger')
    assert.deepEqual(
      await tables(w),
      TABLES.filter((name) => !name.startsWith('task_group')),
    )
    await migrateTo(w.database)
    assert.deepEqual(await schemaOf(w), fresh)
    assert.equal((await w.app.tasks.get('kept'))?.status, 'PENDING')
  })

  it('that is not there is refused, and the error names those that are', async () => {
    await using w = await openWorld()
    await assert.rejects(migrationPlan(w.database, '0009_no'), (error: Error) => {
      return (
        error instanceof UsageError && error.message === `there is no migration named 0009_no; expected zero or one of ${NAMES.join(', ')}`
      )
    })
  })

  it('is planned without being made', async () => {
    await using w = await openWorld()
    assert.deepEqual(
      await migrationPlan(w.database, 'zero'),
      [...NAMES].reverse().map((name) => ({ name, direction: 'down' })),
    )
    assert.deepEqual(await tables(w), TABLES)
  })

  it('keeps the rows of a ledger that is there already', async () => {
    await using w = await openWorld()
    await w.app.sendTask('add', [1, 2])
    await w.app.migrate()
    assert.equal((await w.app.tasks.list()).length, 1)
  })
})

describe('the migration status', () => {
  itOnSqlite('reads only, also a database that holds nothing yet', async () => {
    await using w = await openWorld()
    const path = `${w.folder}/empty.db`
    await writeFile(path, '')
    const empty = await Database.open(`sqlite:${path}`, 'read')
    try {
      assert.deepEqual(await migrationStatus(empty), { applied: [], pending: NAMES, unknown: [] })
    } finally {
      await empty.close()
    }
    assert.equal((await readFile(path)).length, 0)
  })

  itOnSqlite('leaves every byte of a ledger as it was', async () => {
    await using w = await openWorld()
    await w.app.sendTask('add')
    await w.app.close()
    const before = await readFile(w.database.name)
    const reader = await Database.open(w.url, 'read')
    try {
      assert.deepEqual((await migrationStatus(reader)).applied, NAMES)
    } finally {
      await reader.close()
    }
    assert.ok(before.equals(await readFile(w.database.name)))
  })
})

describe('the schema of a database', () => {
  const refusal = (expected: RegExp) => (error: Error) => error instanceof ConfigurationError && expected.test(error.message)

  it("that is this program's passes", async () => {
    await using w = await openWorld()
    await checkSchema(w.database)
  })

  it('that a newer program made is refused, and nothing is changed', async () => {
    await using w = await openWorld()
    await w.database.run("INSERT INTO taskledger_migrations (name, batch) VALUES ('0099_later', 99)", [])
    const refused = refusal(/is newer than this program: it has 0099_later$/)
    await assert.rejects(checkSchema(w.database), refused)
    await assert.rejects(w.join(), refused)
    await assert.rejects(w.app.migrate(), refused)
    await assert.rejects(w.app.migrate('zero'), refused)
    assert.deepEqual(await tables(w), TABLES)
  })

  it('that holds no ledger is refused, and the error says how to make one', async () => {
    await using w = await openWorld()
    await migrateTo(w.database, 'zero')
    await assert.rejects(checkSchema(w.database), (error: ConfigurationError) => {
      return refusal(/^there is no ledger in /)(error) && error.hint === `make one with: taskledger migrate --database ${w.url}`
    })
  })

  itOnSqlite('of a database that another program made for something else is refused, not filled', async () => {
    await using w = await openWorld()
    await rm(`${w.folder}/other.db`, { force: true })
    const other = await Database.open('sqlite:other.db', 'create', w.folder)
    try {
      await other.run('CREATE TABLE customer (id INTEGER)', [])
      await assert.rejects(checkSchema(other), refusal(/^there is no ledger in /))
    } finally {
      await other.close()
    }
  })
})
