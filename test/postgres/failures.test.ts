import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import { failUnstarted } from '../../src/lib/ledger/ends.js'
import { beat, failuresOn, workers } from '../database/server-failures.js'
import { POSTGRES } from '../helpers/databases.js'
import { onServer, postgresSuite, schemas, serverUrl, urlOf } from '../helpers/postgres.js'
import { openWorld } from '../helpers/world.js'

postgresSuite(() => {
  failuresOn({
    databases: POSTGRES,
    urlWith: serverUrl,
    missing: {
      url: serverUrl((url) => Object.assign(url, { password: 'secret-4711', pathname: '/no_such_database' })),
      message: /is not there: database "no_such_database" does not exist/,
    },
    refused: /refuses this user: role "nobody_of_this_name" does not exist/,
    driver: { name: 'pg', url: 'postgres://me@127.0.0.1/test', ledger: 'a ledger in PostgreSQL' },
    newPlace: async () => urlOf(await schemas.make()),
    commit: 'COMMIT\0',
    async endOwn(sql) {
      const [own] = await sql.all<{ pid: number }>('SELECT pg_backend_pid() AS pid', [])
      await onServer(`SELECT pg_terminate_backend(${own?.pid})`)
    },
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
