import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import { Database } from '../../src/lib/database/database.js'
import { CommitUnknownError } from '../../src/lib/database/failure.js'
import { failUnstarted } from '../../src/lib/ledger/moves.js'
import { ConfigurationError, UnavailableError } from '../../src/lib/task/errors.js'
import { POSTGRES } from '../helpers/databases.js'
import { openFolder } from '../helpers/folder.js'
import { overProxy } from '../helpers/over-proxy.js'
import { onServer, postgresSuite, schemas, serverUrl, urlOf } from '../helpers/postgres.js'
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
  serverUrl((url) => {
    url.password = 'secret-4711'
    change(url)
  })

postgresSuite(() => {
  describe('a database that cannot be opened', () => {
    const cases: readonly (readonly [string, () => Promise<string>, typeof ConfigurationError | typeof UnavailableError, RegExp])[] = [
      [
        'because nothing listens there',
        async () => withSecret((url) => Object.assign(url, { hostname: '127.0.0.1', port: '1' })),
        UnavailableError,
        /cannot be reached: connect ECONNREFUSED/,
      ],
      [
        'because it is not there',
        async () => withSecret((url) => Object.assign(url, { pathname: '/no_such_database' })),
        ConfigurationError,
        /is not there: database "no_such_database" does not exist/,
      ],
      [
        'because the server does not know the user',
        async () => withSecret((url) => Object.assign(url, { username: 'nobody_of_this_name' })),
        ConfigurationError,
        /refuses this user: role "nobody_of_this_name" does not exist/,
      ],
    ]
    for (const [what, url, kind, message] of cases) {
      it(`${what} is told without the password`, async () => {
        await assert.rejects(Database.open(await url(), 'write'), (error: Error) => {
          assert.ok(error instanceof kind && message.test(error.message), String(error))
          return !inspect(error, { depth: 10 }).includes('secret-4711')
        })
      })
    }

    it('for want of pg is told in one sentence', async () => {
      await using folder = await openFolder()
      const hook = `export const resolve = (name, context, next) => name === 'pg' ? Promise.reject(Object.assign(new Error('no pg'), { code: 'ERR_MODULE_NOT_FOUND' })) : next(name, context)`
      const loader = `import { register } from 'node:module'; register('data:text/javascript,' + encodeURIComponent(${JSON.stringify(hook)}))`
      const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(loader)}` }
      const { stderr, code } = await folder.run(['list', '--database', 'postgres://me@127.0.0.1/test'], { env })
      assert.equal(
        stderr,
        'taskledger: a ledger in PostgreSQL needs the package pg, which is not installed\n  install pg: npm install pg\n',
      )
      assert.equal(code, 78)
    })

    it('is exit 69, or 78, of a command', async () => {
      await using folder = await openFolder()
      const run = (url: string) => folder.run(['list', '--database', url])
      const unreachable = await run(withSecret((url) => Object.assign(url, { hostname: '127.0.0.1', port: '1' })))
      const missing = await run(withSecret((url) => Object.assign(url, { pathname: '/no_such_database' })))
      assert.deepEqual([unreachable.code, missing.code], [69, 78])
      assert.ok(!`${unreachable.stderr}${missing.stderr}`.includes('secret-4711'))
    })
  })

  describe('a schema', () => {
    it('without a ledger is refused with the command that makes one, and that command makes it', async () => {
      await using folder = await openFolder()
      const url = urlOf(await schemas.make())
      const refused = await folder.run(['list'], { env: { TASKLEDGER_DATABASE: url } })
      assert.equal(refused.code, 78)
      assert.equal(refused.stderr, `taskledger: there is no ledger in ${url}\n  make one with: taskledger migrate --database ${url}\n`)
      assert.equal((await folder.run(['migrate', '--database', url])).code, 0)
      assert.deepEqual(await folder.run(['list'], { env: { TASKLEDGER_DATABASE: url } }).then(({ code }) => code), 0)
    })

    it('may be migrated by several programs at one time', async () => {
      await using folder = await openFolder()
      const env = { TASKLEDGER_DATABASE: urlOf(await schemas.make()) }
      const ran = await Promise.all([1, 2, 3].map(() => folder.run(['migrate'], { env })))
      assert.deepEqual(
        ran.map(({ stderr, code }) => `${code} ${stderr}`),
        ['0 ', '0 ', '0 '],
      )
      const applied = ran.flatMap(({ stdout }) => stdout.split('\n')).filter((line) => line.startsWith('Applying '))
      assert.equal(applied.length, new Set(applied).size)
    })
  })

  describe('a commit whose connection is lost', () => {
    it('before it is written is done again', async () => {
      await using w = await openWorld({ databases: POSTGRES })
      await using far = await overProxy(w)
      far.proxy.cutAt({ text: 'INSERT INTO task_worker', when: 'before' })
      assert.equal(await far.database.write((sql) => sql.run(...beat('a'))), 1)
      far.proxy.cutAt({ text: 'COMMIT\0', when: 'before' })
      await assert.rejects(
        far.database.write((sql) => sql.run(...beat('b'))),
        CommitUnknownError,
      )
      assert.deepEqual(await workers(w), ['a'])
    })

    it('before its answer has come is not known to be written, and is not done again', async () => {
      await using w = await openWorld({ databases: POSTGRES })
      await using far = await overProxy(w)
      far.proxy.cutAt({ text: 'COMMIT\0', when: 'after' })
      await assert.rejects(
        Promise.all(['a', 'b'].map((id) => far.database.write((sql) => sql.run(...beat(id))))),
        (error: Error) => error instanceof CommitUnknownError && /was lost during a commit, which is written or not/.test(error.message),
      )
      await until(async () => (await workers(w)).length === 2, 'the commit to be written')
      assert.equal(await far.database.write((sql) => sql.run(...beat('c'))), 1)
    })

    it('to a server that is away is done once it is back; a read says at once that it is', async () => {
      await using w = await openWorld({ databases: POSTGRES })
      await using far = await overProxy(w)
      far.proxy.close()
      const written = far.database.write((sql) => sql.run(...beat('a')))
      const unreachable = (error: Error) => error instanceof UnavailableError && /cannot be reached/.test(error.message)
      await assert.rejects(far.database.all('SELECT 1', []), unreachable)
      far.proxy.open()
      assert.equal(await written, 1)
    })

    it('because the server ended it is done again', async () => {
      await using w = await openWorld({ databases: POSTGRES })
      let ended = false
      await w.database.write(async (sql) => {
        await sql.run(...beat('a'))
        const [own] = await sql.all<{ pid: number }>('SELECT pg_backend_pid() AS pid', [])
        if (!ended) await onServer(`SELECT pg_terminate_backend(${own?.pid})`)
        ended = true
        await sql.run(...beat('b'))
      })
      assert.deepEqual(await workers(w), ['a', 'b'])
    })
  })

  describe('a write', () => {
    it('shares its commit with those made at the same time', async () => {
      await using w = await openWorld({ databases: POSTGRES })
      const commits = await Promise.all(
        Array.from({ length: 100 }, () =>
          w.database.write((sql) => sql.all<{ id: string }>('SELECT pg_current_xact_id()::text AS id', [])),
        ),
      )
      assert.ok(new Set(commits.map(([row]) => row?.id)).size <= 2)
    })

    it('is not called written when a statement of it failed and was passed over', async () => {
      await using w = await openWorld({ databases: POSTGRES })
      const passing = w.database.write(async (sql) => {
        await sql.run(...beat('a'))
        await sql.run(...beat('a')).catch(() => {})
      })
      await assert.rejects(passing, /a commit was rolled back/)
      assert.deepEqual(await workers(w), [])
    })

    it('never shows a bound value when it fails', async () => {
      await using w = await openWorld({ databases: POSTGRES })
      const statement =
        'INSERT INTO task_worker (worker_id, host, pid, queues, started_at, beat_at, lease_until) VALUES (?, NULL, 1, 1, 1, 1, 1)'
      for (const asked of [w.database.run(statement, ['token-4711']), w.database.write((sql) => sql.run(statement, ['token-4711']))]) {
        await assert.rejects(asked, (error: Error) => /not-null constraint/.test(error.message) && !inspect(error).includes('token-4711'))
      }
    })
  })

  describe('a row', () => {
    it('is answered as SQLite answers it: numbers, texts and nulls', async () => {
      await using w = await openWorld({ databases: POSTGRES })
      const text = `SELECT 1::bigint AS big, 2 AS small, true AS yes, 1 IS NULL AS no, sum(3::bigint) AS total, 'four?' AS literal, NULL AS nothing, ? || '' AS bound`
      assert.deepEqual(
        { ...(await w.database.all<object>(text, ['a\0b']))[0] },
        { big: 1, small: 2, yes: 1, no: 0, total: 3, literal: 'four?', nothing: null, bound: 'a\u{FFFD}b' },
      )
    })

    it('keeps an error whose text has a NUL in it, and JSON with one whole', async () => {
      await using w = await openWorld({ databases: POSTGRES, now: Date.now })
      const { id } = await w.app.sendTask('add', ['a\0b'])
      const [delivery] = await w.broker.receive(['default'], 1, 1000)
      assert.deepEqual(delivery?.message.args, ['a\0b'])
      assert.deepEqual((await w.app.tasks.get(id))?.args, ['a\0b'])
      const error = { type: 'E\0', message: 'm\0', traceback: 't\0' }
      assert.ok(await w.database.write((sql) => failUnstarted(sql, id, error, { at: Date.now(), resultExpiresAt: null })))
      const { errorType, errorMessage, traceback } = (await w.app.tasks.get(id)) ?? {}
      assert.deepEqual([errorType, errorMessage, traceback], ['E\u{FFFD}', 'm\u{FFFD}', 't\u{FFFD}'])
    })

    it('has a time that ends a fraction of a millisecond later at the next one', async () => {
      await using w = await openWorld({ databases: POSTGRES })
      assert.deepEqual({ ...(await w.database.all<object>('SELECT ?::bigint AS at', [1.25]))[0] }, { at: 2 })
    })
  })
})
