import assert from 'node:assert/strict'
import { mkdir, readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import SqliteDatabase from 'better-sqlite3'
import { Database } from '../../src/lib/database/database.js'
import { migrationStatus } from '../../src/lib/database/migrate.js'
import type { Sql } from '../../src/lib/database/sql.js'
import { ConfigurationError } from '../../src/lib/task/errors.js'
import { inWordsOf, itOnSqlite } from '../helpers/databases.js'
import { commitsIn } from '../helpers/wal.js'
import { openWorld, type World } from '../helpers/world.js'

/** The ledger's file through a connection of the test's own: what another program sees. */
function outside({ database }: World): SqliteDatabase.Database & Disposable {
  const raw = new SqliteDatabase(database.name)
  return Object.assign(raw, { [Symbol.dispose]: () => raw.close() })
}

const pragma = async (database: Database, name: string): Promise<unknown> => {
  const [row] = await database.all<Record<string, unknown>>(`PRAGMA ${name}`, [])
  return row && Object.values(row)[0]
}

describe('opening a database', () => {
  const cases: readonly (readonly [string, (folder: string) => Promise<unknown>, RegExp])[] = [
    ['a file that is not there', async () => {}, /^there is no ledger at .*x\.db$/],
    ['a folder', (folder) => mkdir(join(folder, 'x.db')), /x\.db is a folder$/],
    [
      'a file that is not SQLite',
      (folder) => writeFile(join(folder, 'x.db'), 'name,licence\n'.repeat(100)),
      /x\.db is not a SQLite database$/,
    ],
  ]
  for (const [what, make, message] of cases) {
    it(`refuses ${what} and leaves everything as it was`, async () => {
      await using w = await openWorld()
      await make(w.folder)
      const before = await readdir(w.folder)
      for (const mode of ['read', 'write'] as const) {
        await assert.rejects(Database.open('sqlite:x.db', mode, w.folder), (error: Error) => {
          return error instanceof ConfigurationError && message.test(error.message)
        })
      }
      assert.deepEqual(await readdir(w.folder), before)
    })
  }

  it('refuses a file in a folder that is not there, also to create it', async () => {
    await using w = await openWorld()
    await assert.rejects(Database.open('sqlite:no/x.db', 'create', w.folder), (error: Error) => {
      return error instanceof ConfigurationError && error.message.endsWith(`no/x.db cannot be made: there is no folder ${w.folder}/no`)
    })
  })

  it('makes the file only when asked to create it', async () => {
    await using w = await openWorld()
    const made = await Database.open('sqlite:x.db', 'create', w.folder)
    await made.close()
    assert.ok((await stat(join(w.folder, 'x.db'))).isFile())
  })

  itOnSqlite('makes every commit durable and lets readers work beside the writer', async () => {
    await using w = await openWorld()
    assert.equal(await pragma(w.database, 'journal_mode'), 'wal')
    assert.equal(await pragma(w.database, 'synchronous'), 2)
    assert.equal(await pragma(w.database, 'foreign_keys'), 1)
  })

  it('only to read cannot change anything', async () => {
    await using w = await openWorld()
    const reader = await Database.open(w.url, 'read')
    try {
      assert.deepEqual(await reader.all('SELECT task_id FROM task_result', []), [])
      await assert.rejects(
        reader.write((sql) => sql.run('DELETE FROM task_result', [])),
        /cannot be written: (the file or its folder is read-only|it was opened to read)/,
      )
    } finally {
      await reader.close()
    }
  })
})

const beat = (id: string) =>
  [
    `INSERT INTO task_worker (worker_id, host, pid, queues, started_at, beat_at, lease_until) VALUES (?, 'h', 1, '[]', 0, 0, 0)`,
    [id],
  ] as const

describe('a write', () => {
  const ids = async ({ database }: World) =>
    (await database.all<{ worker_id: string }>('SELECT worker_id FROM task_worker ORDER BY worker_id', [])).map((row) => row.worker_id)

  itOnSqlite('is on disk, for every other program, once it resolves', async () => {
    await using w = await openWorld()
    using other = outside(w)
    await w.database.write((sql) => sql.run(...beat('a')))
    assert.equal(other.prepare('SELECT count(*) FROM task_worker').pluck().get(), 1)
  })

  itOnSqlite('shares its commit with those made at the same time', async () => {
    await using w = await openWorld()
    using other = outside(w)
    other.pragma('wal_checkpoint(TRUNCATE)')
    const all = Array.from({ length: 100 }, (_, i) => w.database.write((sql) => sql.run(...beat(String(i)))))
    await Promise.all(all)
    assert.equal((await ids(w)).length, 100)
    const commits = await commitsIn(`${w.database.name}-wal`)
    assert.ok(commits >= 1 && commits <= 2, `${commits} commits`)
  })

  itOnSqlite('made one after another is a commit each', async () => {
    await using w = await openWorld()
    using other = outside(w)
    other.pragma('wal_checkpoint(TRUNCATE)')
    for (let i = 0; i < 10; i++) await w.database.write((sql) => sql.run(...beat(String(i))))
    assert.equal(await commitsIn(`${w.database.name}-wal`), 10)
  })

  it('that fails takes nothing with it, and leaves nothing of its own', async () => {
    await using w = await openWorld()
    const settled = await Promise.allSettled([
      w.database.write((sql) => sql.run(...beat('a'))),
      w.database.write(async (sql) => {
        await sql.run(...beat('b'))
        throw new Error('mine')
      }),
      w.database.write((sql) => sql.run(...beat('a'))),
      w.database.write((sql) => sql.run(...beat('c'))),
    ])
    assert.deepEqual(
      settled.map((one) =>
        one.status === 'fulfilled' ? one.value : (one.reason as Error).message.split(':')[0]?.replace('task_worker.PRIMARY', 'PRIMARY'),
      ),
      [
        1,
        'mine',
        inWordsOf({
          sqlite: 'UNIQUE constraint failed',
          postgres: 'duplicate key value violates unique constraint "task_worker_pkey"',
          mysql: "Duplicate entry … for key 'PRIMARY'",
        }),
        1,
      ],
    )
    assert.deepEqual(await ids(w), ['a', 'c'])
  })

  it('of many items together is one piece of work for all who ask at one time, each with the answers to their own', async () => {
    await using w = await openWorld()
    const calls: (readonly string[])[] = []
    const joint = async (sql: Sql, items: readonly string[]): Promise<string[]> => {
      calls.push(items)
      for (const id of items) await sql.run(...beat(id))
      return items.map((id) => id.toUpperCase())
    }
    const answers = await Promise.all([w.database.writeJointly(joint, ['a', 'b']), w.database.writeJointly(joint, ['c'])])
    assert.deepEqual(answers, [['A', 'B'], ['C']])
    assert.deepEqual(calls, [['a', 'b', 'c']])
    assert.deepEqual(await ids(w), ['a', 'b', 'c'])
  })

  it('of many items that fails takes nothing with it that somebody else asked for', async () => {
    await using w = await openWorld()
    const joint = async (sql: Sql, items: readonly string[]): Promise<string[]> => {
      for (const id of items) await sql.run(...beat(id))
      if (items.includes('b')) throw new Error('mine')
      return [...items]
    }
    const settled = await Promise.allSettled([
      w.database.writeJointly(joint, ['a', 'b']),
      w.database.writeJointly(joint, ['c']),
      w.database.write((sql) => sql.run(...beat('d'))),
    ])
    assert.deepEqual(
      settled.map((one) => (one.status === 'fulfilled' ? one.value : (one.reason as Error).message)),
      ['mine', ['c'], 1],
    )
    assert.deepEqual(await ids(w), ['c', 'd'])
  })

  itOnSqlite('is not part of a read that runs beside it', async () => {
    await using w = await openWorld()
    let seen: unknown[] = ['not read']
    await w.database.write(async (sql) => {
      await sql.run(...beat('a'))
      const beside = w.database.all('SELECT * FROM task_worker', []).then((rows) => {
        seen = rows
      })
      await sql.run(...beat('b'))
      void beside
    })
    await w.database.all('SELECT 1', [])
    assert.equal(seen.length, 2)
  })

  itOnSqlite('waits for the lock of another program without holding up its own', async () => {
    await using w = await openWorld()
    using other = outside(w)
    other.exec('BEGIN IMMEDIATE')
    let turns = 0
    const ticking = setInterval(() => {
      turns += 1
      if (turns === 10) other.exec('COMMIT')
    }, 10)
    try {
      await w.database.write((sql) => sql.run(...beat('a')))
    } finally {
      clearInterval(ticking)
    }
    assert.ok(turns >= 10, `${turns} turns of the event loop`)
    assert.deepEqual(await ids(w), ['a'])
  })

  it('waits for a caller that has only read so far in a transaction of its own, and is about to write', async () => {
    await using w = await openWorld()
    const member = await w.join()
    let write: Promise<number> | undefined
    await w.database.knex.transaction(async (trx) => {
      await trx.raw('SELECT * FROM task_worker')
      write = member.database.write((sql) => sql.run(...beat('b')))
      for (let turns = 0; turns < 20; turns++) await new Promise((resolve) => setImmediate(resolve))
      await trx.raw(beat('a')[0], ['a'])
    })
    assert.equal(await write, 1)
    assert.deepEqual(await ids(w), ['a', 'b'])
  })

  itOnSqlite('that waits lets reads go on', async () => {
    await using w = await openWorld()
    using other = outside(w)
    other.exec('BEGIN IMMEDIATE')
    const write = w.database.write((sql) => sql.run(...beat('a')))
    assert.deepEqual(await w.database.all('SELECT worker_id FROM task_worker', []), [])
    other.exec('COMMIT')
    assert.equal(await write, 1)
  })

  itOnSqlite('sees the newest data, so that it never fails on a stale snapshot', async () => {
    await using w = await openWorld()
    using other = outside(w)
    await w.database.all('SELECT * FROM task_worker', [])
    other.prepare(beat('a')[0]).run('a')
    const seen = await w.database.write(async (sql) => {
      const rows = await sql.all('SELECT worker_id FROM task_worker', [])
      await sql.run(...beat('b'))
      return rows.length
    })
    assert.equal(seen, 1)
  })

  it('under way is waited for by close', async () => {
    await using w = await openWorld()
    const member = await w.join()
    const write = member.database.write((sql) => sql.run(...beat('a')))
    await member.app.close()
    assert.equal(await write, 1)
  })

  it('and reads are waited for by close, and what comes after that is refused', async () => {
    await using w = await openWorld()
    const { app, database } = await w.join()
    const reads = Array.from({ length: 30 }, () => database.all('SELECT 1', []))
    await app.close()
    for (const rows of await Promise.all(reads)) assert.equal(rows.length, 1)
    const refused = { name: 'UsageError', message: `the ledger ${database.name} is closed` }
    await assert.rejects(database.all('SELECT 1', []), refused)
    await assert.rejects(
      database.write(async () => 1),
      refused,
    )
  })

  itOnSqlite('never shows a bound value when it fails, through knex neither', async () => {
    await using w = await openWorld()
    const secret = 'token-4711'
    const shown = (error: unknown): boolean => {
      const seen = error instanceof Error ? `${error.message} ${error.stack} ${JSON.stringify(error)}` : String(error)
      return /constraint failed/.test(seen) && !seen.includes(secret)
    }
    const statement =
      'INSERT INTO task_worker (worker_id, host, pid, queues, started_at, beat_at, lease_until) VALUES (?, NULL, 1, 1, 1, 1, 1)'
    await assert.rejects(w.database.run(statement, [secret]), shown)
    await assert.rejects(
      w.database.write((sql) => sql.run(statement, [secret])),
      shown,
    )
    await assert.rejects(w.database.knex.raw(statement, [secret]), shown)
    await assert.rejects(w.database.knex('task_worker').insert({ worker_id: secret }), shown)
  })
})

describe('a database in memory', () => {
  it('is one ledger for everything that its program does at one time', async () => {
    await using w = await openWorld()
    const database = await Database.open('sqlite::memory:', 'create', w.folder)
    try {
      assert.equal(database.name, ':memory:')
      assert.deepEqual((await migrationStatus(database)).applied, [])
    } finally {
      await database.close()
    }
  })
})
