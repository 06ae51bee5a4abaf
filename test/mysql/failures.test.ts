import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import knex from 'knex'
import { Database } from '../../src/lib/database/database.js'
import { checkSchema, migrateTo, migrationStatus } from '../../src/lib/database/migrate.js'
import type { Sql } from '../../src/lib/database/sql.js'
import { ConfigurationError, UsageError } from '../../src/lib/task/errors.js'
import { beat, failuresOn, workers } from '../database/server-failures.js'
import { MYSQL } from '../helpers/databases.js'
import { databases, mysqlSuite, mysqlUrl, mysqlUrlOf, onMysql } from '../helpers/mysql.js'
import { putRow } from '../helpers/rows.js'
import { until } from '../helpers/until.js'
import { openWorld, type World } from '../helpers/world.js'

mysqlSuite(() => {
  failuresOn({
    databases: MYSQL,
    urlWith: mysqlUrl,
    missing: {
      url: mysqlUrl((url) => Object.assign(url, { pathname: '/no_such_database' })), // a user with a wrong password does not get as far
      message: /is not there: Unknown database 'no_such_database'/,
    },
    refused: /refuses this user: Access denied for user 'nobody_of_this_name'/,
    driver: { name: 'mysql2', url: 'mysql://me@127.0.0.1/test', ledger: 'a ledger in MySQL or MariaDB' },
    newPlace: async () => mysqlUrlOf(await databases.make()).replace('mysql:', 'mariadb:'),
    commit: '\x03COMMIT', // a command, and its text
    async endOwn(sql) {
      const [own] = await sql.all<{ id: number }>('SELECT connection_id() AS id', [])
      await onMysql(`KILL ${own?.id}`)
    },
  })

  describe('a database', () => {
    it('whose migration died half way is migrated all the same', async () => {
      await using w = await openWorld({ databases: MYSQL })
      const lost: readonly (readonly string[])[] = [
        ["DELETE FROM taskledger_migrations WHERE name = '0002_workflows'", 'DROP TABLE task_group_member'],
        ['DELETE FROM taskledger_migrations', 'DROP TABLE task_worker', 'ALTER TABLE task_result DROP KEY task_result_root'],
      ]
      for (const statements of lost) {
        for (const statement of [...statements, 'UPDATE taskledger_migrations_lock SET is_locked = 1']) await w.database.run(statement, [])
        if (statements.length === 3)
          await w.database.run('ALTER TABLE task_result DROP KEY task_result_expiring, DROP COLUMN by_expiring', [])
        await migrateTo(w.database)
        await checkSchema(w.database)
        await w.app.sendTask('add', [1])
      }
      assert.equal(await w.app.tasks.count(), 2)
    })

    it('that has a table of such a name already is left alone', async () => {
      const name = await databases.make()
      await onMysql(`CREATE TABLE ${name}.task_attempt (mine int)`)
      const database = await Database.open(mysqlUrlOf(name), 'create')
      try {
        const refused = (error: Error) =>
          error instanceof ConfigurationError && /is not the ledger's: Table 'task_attempt' already exists/.test(error.message)
        await assert.rejects(migrateTo(database), refused)
        assert.deepEqual((await migrationStatus(database)).applied, [])
        assert.deepEqual(await onMysql(`SELECT * FROM ${name}.task_attempt`), [])
      } finally {
        await database.close()
      }
    })
  })

  describe('a write', () => {
    it('shares its commit with those made at the same time', async () => {
      await using w = await openWorld({ databases: MYSQL })
      const before = await Promise.all(
        Array.from({ length: 100 }, () =>
          w.database.write((sql) => sql.all<{ Value: string }>("SHOW SESSION STATUS LIKE 'Com_commit'", [])),
        ),
      )
      assert.ok(new Set(before.map(([row]) => row?.Value)).size <= 2)
    })

    it('that gave way to another is done again as a whole, also when it passed that over', async () => {
      await using w = await openWorld({ databases: MYSQL })
      const other = await w.join()
      for (const id of ['a', 'b']) await putRow(w.database, { task_id: id })
      const add = 'UPDATE task_result SET retries = retries + 1 WHERE task_id = ?'
      let arrived = 0
      const both =
        (first: string, second: string) => async (sql: World['database'] | Parameters<Parameters<World['database']['write']>[0]>[0]) => {
          await sql.run(add, [first])
          arrived += 1
          await until(async () => arrived >= 2, 'both to have a row')
          await sql.run(add, [second]).catch(() => {})
          await sql.run(...beat(`${first} ${arrived}`)).catch(() => {})
        }
      await Promise.all([w.database.write(both('a', 'b')), other.database.write(both('b', 'a'))])
      assert.deepEqual(await w.database.all('SELECT retries FROM task_result', []), [{ retries: 2 }, { retries: 2 }])
      assert.equal((await workers(w)).length, 2)
    })

    it('never shows a bound value when it fails', async () => {
      await using w = await openWorld({ databases: MYSQL })
      const insert = 'INSERT INTO task_worker (worker_id, host, pid, queues, started_at, beat_at, lease_until) VALUES'
      await w.database.run(...beat('token-4711'))
      const statements = [
        `${insert} (?, NULL, 1, 1, 1, 1, 1)`,
        `${insert} (?, 'h', 1, 1, 1, 1, 1)`,
        `${insert} ('x', 'h', ?, 1, 1, 1, 1)`,
        `${insert} (?, 'h',`,
      ]
      for (const statement of statements) {
        const asked = [w.database, { run: (...ask: Parameters<Sql['run']>) => w.database.write((sql) => sql.run(...ask)) }]
        for (const one of asked) {
          await assert.rejects(
            one.run(statement, ['token-4711']),
            (error: Error) => !inspect(error, { depth: 10 }).includes('token-4711'),
            statement,
          )
        }
      }
    })

    it('larger than the server takes is refused as that, and the connection is not lost', async () => {
      await using w = await openWorld({ databases: MYSQL })
      const [{ bytes } = { bytes: 0 }] = await w.database.all<{ bytes: number }>('SELECT @@max_allowed_packet AS bytes', [])
      const refused = (error: Error) =>
        error instanceof ConfigurationError && /takes no statement of this size: a statement of \d+ bytes/.test(error.message)
      await assert.rejects(w.database.run('UPDATE task_worker SET queues = ?', ['x'.repeat(bytes)]), refused)
      await w.app.sendTask('add', [1])
      assert.equal(await w.app.tasks.count(), 1)
    })
  })

  describe("a caller's transaction", () => {
    it('whose connection reads a backslash as any other character is refused', async () => {
      await using w = await openWorld({ databases: MYSQL })
      const db = knex({ client: 'mysql2', connection: w.url, pool: { min: 1, max: 1 } })
      try {
        await db.raw("SET SESSION sql_mode = concat(@@sql_mode, ',NO_BACKSLASH_ESCAPES')")
        const refused = (error: Error) => error instanceof UsageError && /without NO_BACKSLASH_ESCAPES/.test(error.message)
        await assert.rejects(
          db.transaction((trx) => w.app.sendTask('add', [1], { trx })),
          refused,
        )
      } finally {
        await db.destroy()
      }
      assert.equal(await w.app.tasks.count(), 0)
    })
  })

  describe('a row', () => {
    it('is answered as SQLite answers it: numbers, texts and nulls', async () => {
      await using w = await openWorld({ databases: MYSQL })
      const text = `SELECT 9007199254740991 AS big, 2 AS small, true AS yes, 1 IS NULL AS no, sum(3) AS total, 'four?' AS literal, NULL AS nothing, ? AS bound, ? + 0 AS later`
      assert.deepEqual(
        { ...(await w.database.all<object>(text, ['a\0b\\\'"', 1.25]))[0] },
        { big: 9007199254740991, small: 2, yes: 1, no: 0, total: 3, literal: 'four?', nothing: null, bound: 'a\0b\\\'"', later: 2 },
      )
    })

    it('is known by its id to the byte', async () => {
      await using w = await openWorld({ databases: MYSQL })
      const ids = ['a', 'A', 'a ', 'ä', 'a\u0308', '🙂', '🙃', 'ａ']
      for (const taskId of ids) await w.app.sendTask('add', [], { taskId })
      for (const taskId of ids) assert.equal((await w.app.tasks.get(taskId))?.taskId, taskId)
    })

    it('is found by a glob to the byte', async () => {
      await using w = await openWorld({ databases: MYSQL })
      const tasks = ['mail.send', 'Mail.send', 'mail.🙂', 'mail.a\nb', 'a&&b']
      for (const task of tasks) await putRow(w.database, { task_id: task, task })
      const found = async (glob: string) => (await w.app.tasks.list({ tasks: [glob] })).map(({ taskId }) => taskId).sort()
      assert.deepEqual(await found('mail.*'), ['mail.a\nb', 'mail.send', 'mail.🙂'])
      assert.deepEqual(await found('*.send'), ['Mail.send', 'mail.send'])
      assert.deepEqual(await found('?ail.?'), ['mail.🙂'])
      assert.deepEqual(await found('[&&a]&*'), ['a&&b'])
      assert.deepEqual(await found('*.a?b'), ['mail.a\nb'])
    })
  })
})
