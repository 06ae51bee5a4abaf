import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import knex from 'knex'
import { Database } from '../../src/lib/database/database.js'
import { CommitUnknownError } from '../../src/lib/database/failure.js'
import { checkSchema, migrateTo, migrationStatus } from '../../src/lib/database/migrate.js'
import { ConfigurationError, UnavailableError, UsageError } from '../../src/lib/task/errors.js'
import { MYSQL } from '../helpers/databases.js'
import { openFolder } from '../helpers/folder.js'
import { databases, mysqlSuite, mysqlUrl, mysqlUrlOf, onMysql } from '../helpers/mysql.js'
import { overProxy } from '../helpers/over-proxy.js'
import { putRow } from '../helpers/rows.js'
import { until } from '../helpers/until.js'
import { openWorld, type World } from '../helpers/world.js'

const beat = (id: string) =>
  [
    `INSERT INTO task_worker (worker_id, host, pid, queues, started_at, beat_at, lease_until) VALUES (?, 'h', 1, '[]', 0, 0, 0)`,
    [id],
  ] as const

const workers = async (w: World) =>
  (await w.database.all<{ worker_id: string }>('SELECT worker_id FROM task_worker ORDER BY worker_id', [])).map((row) => row.worker_id)

const withSecret = (change: (url: URL) => void): string =>
  mysqlUrl((url) => {
    url.password = 'secret-4711'
    change(url)
  })

/** A commit as it goes over the wire: a command, and its text. */
const COMMIT = '\x03COMMIT'

mysqlSuite(() => {
  describe('a database that cannot be opened', () => {
    const cases: readonly (readonly [string, (url: URL) => void, typeof ConfigurationError | typeof UnavailableError, RegExp])[] = [
      [
        'because nothing listens there',
        (url) => Object.assign(url, { hostname: '127.0.0.1', port: '1' }),
        UnavailableError,
        /cannot be reached: connect ECONNREFUSED/,
      ],
      [
        'because it is not there',
        (url) => Object.assign(url, { password: '', pathname: '/no_such_database' }),
        ConfigurationError,
        /is not there: Unknown database 'no_such_database'/,
      ],
      [
        'because the server refuses the password',
        (url) => Object.assign(url, { username: 'nobody_of_this_name' }),
        ConfigurationError,
        /refuses this user: Access denied for user 'nobody_of_this_name'/,
      ],
    ]
    for (const [what, change, kind, message] of cases) {
      it(`${what} is told without the password`, async () => {
        await assert.rejects(Database.open(withSecret(change), 'write'), (error: Error) => {
          assert.ok(error instanceof kind && message.test(error.message), String(error))
          return !inspect(error, { depth: 10 }).includes('secret-4711')
        })
      })
    }

    it('for want of mysql2 is told in one sentence', async () => {
      await using folder = await openFolder()
      const hook = `export const resolve = (name, context, next) => name === 'mysql2' ? Promise.reject(Object.assign(new Error('no mysql2'), { code: 'ERR_MODULE_NOT_FOUND' })) : next(name, context)`
      const loader = `import { register } from 'node:module'; register('data:text/javascript,' + encodeURIComponent(${JSON.stringify(hook)}))`
      const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(loader)}` }
      const { stderr, code } = await folder.run(['list', '--database', 'mysql://me@127.0.0.1/test'], { env })
      assert.equal(
        stderr,
        'taskledger: a ledger in MySQL or MariaDB needs the package mysql2, which is not installed\n  install mysql2: npm install mysql2\n',
      )
      assert.equal(code, 78)
    })

    it('is exit 69, or 78, of a command', async () => {
      await using folder = await openFolder()
      const run = (url: string) => folder.run(['list', '--database', url])
      const unreachable = await run(withSecret((url) => Object.assign(url, { hostname: '127.0.0.1', port: '1' })))
      const refused = await run(withSecret((url) => Object.assign(url, { username: 'nobody_of_this_name' })))
      assert.deepEqual([unreachable.code, refused.code], [69, 78])
      assert.ok(!`${unreachable.stderr}${refused.stderr}`.includes('secret-4711'))
    })
  })

  describe('a database', () => {
    it('without a ledger is refused with the command that makes one, and that command makes it', async () => {
      await using folder = await openFolder()
      const url = mysqlUrlOf(await databases.make()).replace('mysql:', 'mariadb:')
      const refused = await folder.run(['list'], { env: { TASKLEDGER_DATABASE: url } })
      assert.equal(refused.code, 78)
      assert.equal(refused.stderr, `taskledger: there is no ledger in ${url}\n  make one with: taskledger migrate --database ${url}\n`)
      assert.equal((await folder.run(['migrate', '--database', url])).code, 0)
      assert.deepEqual(await folder.run(['list'], { env: { TASKLEDGER_DATABASE: url } }).then(({ code }) => code), 0)
    })

    it('may be migrated by several programs at one time', async () => {
      await using folder = await openFolder()
      const env = { TASKLEDGER_DATABASE: mysqlUrlOf(await databases.make()) }
      const ran = await Promise.all([1, 2, 3].map(() => folder.run(['migrate'], { env })))
      assert.deepEqual(
        ran.map(({ stderr, code }) => `${code} ${stderr}`),
        ['0 ', '0 ', '0 '],
      )
      const applied = ran.flatMap(({ stdout }) => stdout.split('\n')).filter((line) => line.startsWith('Applying '))
      assert.equal(applied.length, new Set(applied).size)
    })

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

  describe('a commit whose connection is lost', () => {
    it('before it is written is done again', async () => {
      await using w = await openWorld({ databases: MYSQL })
      await using far = await overProxy(w)
      far.proxy.cutAt({ text: 'INSERT INTO task_worker', when: 'before' })
      assert.equal(await far.database.write((sql) => sql.run(...beat('a'))), 1)
      far.proxy.cutAt({ text: COMMIT, when: 'before' })
      await assert.rejects(
        far.database.write((sql) => sql.run(...beat('b'))),
        CommitUnknownError,
      )
      assert.deepEqual(await workers(w), ['a'])
    })

    it('before its answer has come is not known to be written, and is not done again', async () => {
      await using w = await openWorld({ databases: MYSQL })
      await using far = await overProxy(w)
      far.proxy.cutAt({ text: COMMIT, when: 'after' })
      await assert.rejects(
        Promise.all(['a', 'b'].map((id) => far.database.write((sql) => sql.run(...beat(id))))),
        (error: Error) => error instanceof CommitUnknownError && /was lost during a commit, which is written or not/.test(error.message),
      )
      await until(async () => (await workers(w)).length === 2, 'the commit to be written')
      assert.equal(await far.database.write((sql) => sql.run(...beat('c'))), 1)
    })

    it('to a server that is away is done once it is back; a read says at once that it is', async () => {
      await using w = await openWorld({ databases: MYSQL })
      await using far = await overProxy(w)
      far.proxy.close()
      const written = far.database.write((sql) => sql.run(...beat('a')))
      const unreachable = (error: Error) => error instanceof UnavailableError && /cannot be reached/.test(error.message)
      await assert.rejects(far.database.all('SELECT 1', []), unreachable)
      far.proxy.open()
      assert.equal(await written, 1)
    })

    it('because the server ended it is done again', async () => {
      await using w = await openWorld({ databases: MYSQL })
      let ended = false
      await w.database.write(async (sql) => {
        await sql.run(...beat('a'))
        const [own] = await sql.all<{ id: number }>('SELECT connection_id() AS id', [])
        if (!ended) await onMysql(`KILL ${own?.id}`)
        ended = true
        await sql.run(...beat('b'))
      })
      assert.deepEqual(await workers(w), ['a', 'b'])
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
        for (const asked of [w.database.run(statement, ['token-4711']), w.database.write((sql) => sql.run(statement, ['token-4711']))]) {
          await assert.rejects(asked, (error: Error) => !inspect(error, { depth: 10 }).includes('token-4711'), statement)
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
