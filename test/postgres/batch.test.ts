import assert from 'node:assert/strict'
import type { Database } from '../../src/lib/database/database.js'
import { POSTGRES } from '../helpers/databases.js'
import { postgresSuite } from '../helpers/postgres.js'
import { aMessage } from '../helpers/rows.js'
import { until } from '../helpers/until.js'
import { gate } from '../helpers/working.js'
import { openWorld, type World } from '../helpers/world.js'

const WORKERS = Array.from({ length: 100 }, (_, n) => `w${n}`)

const INSERT = `INSERT INTO task_worker (worker_id, host, pid, queues, started_at, beat_at, lease_until) VALUES (?, ?, ?, ?, ?, ?, ?)`

const insert = (database: Database, id: string, conflict = '') =>
  database.write((sql) => sql.run(`${INSERT}${conflict}`, [id, `host of ${id}?`, 1, '[]', 0, 0, 0]), null)

const rows = (w: World) =>
  w.database.all<{ worker_id: string; host: string; pid: number }>('SELECT * FROM task_worker ORDER BY worker_id', [])

/** In how many commits the workers were written. */
async function commitsOf(w: World): Promise<number> {
  const [row] = await w.database.all<{ n: number }>('SELECT count(DISTINCT xmin::text) AS n FROM task_worker', [])
  return row?.n ?? 0
}

postgresSuite(() => {
  describe('works that are under way at one time in a commit', () => {
    it('each have their own row written, and their own answer', async () => {
      await using w = await openWorld({ databases: POSTGRES })
      const answers = await Promise.all(WORKERS.map((id) => insert(w.database, id)))
      assert.deepEqual(new Set(answers), new Set([1]))
      assert.deepEqual(
        (await rows(w)).map(({ host }) => host),
        [...WORKERS].sort().map((id) => `host of ${id}?`),
      )
      assert.equal(await commitsOf(w), 1)
    })

    it('hear which of them wrote, where some were there and some are the same', async () => {
      await using w = await openWorld({ databases: POSTGRES })
      await insert(w.database, 'w1')
      const ids = ['w0', 'w1', 'w2', 'w0', 'w3']
      const answers = await Promise.all(ids.map((id) => insert(w.database, id, ' ON CONFLICT (worker_id) DO NOTHING')))
      assert.deepEqual(answers, [1, 0, 1, 0, 1])
    })

    it('hear which of them changed or removed something', async () => {
      await using w = await openWorld({ databases: POSTGRES })
      await Promise.all(WORKERS.slice(0, 4).map((id) => insert(w.database, id)))
      const changes = await Promise.all(
        ['w0', 'w9', 'w2'].map((id, n) =>
          w.database.write(
            (sql) => sql.run("UPDATE task_worker SET host = '? ' || coalesce(?, host), pid = ? WHERE worker_id = ?", [null, n, id]),
            null,
          ),
        ),
      )
      assert.deepEqual(changes, [1, 0, 1])
      assert.deepEqual(
        (await rows(w)).map(({ host, pid }) => [host, pid]),
        [
          ['? host of w0?', 0],
          ['host of w1?', 1],
          ['? host of w2?', 2],
          ['host of w3?', 1],
        ],
      )
      const removals = await Promise.all(
        ['w3', 'w3', 'w7', 'w1'].map((id) => w.database.write((sql) => sql.run('DELETE FROM task_worker WHERE worker_id = ?', [id]), null)),
      )
      assert.deepEqual([removals[0]! + removals[1]!, ...removals.slice(2)], [1, 0, 1])
    })

    it('may bind a number, a text and nothing in the same place, and ask for rows', async () => {
      await using w = await openWorld({ databases: POSTGRES })
      const asked = await Promise.all(
        [1, 'two', null].map((value) =>
          w.database.write(async (sql) => {
            await sql.run('UPDATE task_worker SET host = CAST(? AS text) WHERE worker_id = ?', [value, 'nobody'])
            return sql.all<{ given: string | null; at: string }>('SELECT CAST(? AS text) AS given, pg_current_xact_id()::text AS at', [
              value,
            ])
          }, null),
        ),
      )
      assert.deepEqual(
        asked.map(([row]) => row?.given),
        ['1', 'two', null],
      )
      assert.equal(new Set(asked.map(([row]) => row?.at)).size, 1, 'one commit')
    })

    it('take nothing with them that fail, whatever failed', async () => {
      await using w = await openWorld({ databases: POSTGRES })
      await insert(w.database, 'w50')
      const ends = await Promise.allSettled(WORKERS.map((id) => insert(w.database, id)))
      assert.deepEqual(
        ends.flatMap(({ status }, n) => (status === 'rejected' ? [WORKERS[n]] : [])),
        ['w50'],
      )
      assert.equal((await rows(w)).length, 100)
      const wrong = w.database.write(() => Promise.reject(new Error('a bug')), null)
      const right = w.database.write((sql) => sql.run('DELETE FROM task_worker WHERE worker_id = ?', ['w1']), null)
      await assert.rejects(wrong, /^Error: a bug$/)
      assert.equal(await right, 1)
    })

    it('go before those that have an order', async () => {
      await using w = await openWorld({ databases: POSTGRES })
      const order: string[] = []
      const note = (name: string) => async () => void order.push(name)
      await Promise.all([
        w.database.write(note('b'), 'b'),
        w.database.write(note('free')),
        w.database.write(note('first'), null),
        w.database.write(note('a'), 'a'),
        w.database.write(note('second'), null),
      ])
      assert.deepEqual(order, ['first', 'second', 'free', 'a', 'b'])
    })

    it('come one after the other where they name one order, as they were asked for, while others go on', async () => {
      await using w = await openWorld({ databases: POSTGRES })
      const order: string[] = []
      const door = gate()
      const first = w.database.write(async () => {
        order.push('first')
        await door.passed
      }, 'a')
      await until(() => order.length === 1, 'the first to be under way')
      const others = ['second', 'third'].map((name) => w.database.write(async () => void order.push(name), 'a'))
      await w.database.write(async () => void order.push('of another order'), 'b')
      await w.database.write(async () => void order.push('of none'), null)
      door.open()
      await Promise.all([first, ...others])
      assert.deepEqual(order, ['first', 'of another order', 'of none', 'second', 'third'])
    })

    it('publish a hundred tasks in one commit, each with its row and its message', async () => {
      await using w = await openWorld({ databases: POSTGRES })
      await Promise.all(WORKERS.map((id) => w.publisher.publish(aMessage({ id, task: `task of ${id}`, queue: 'q', routingKey: 'q' }))))
      const [row] = await w.database.all<{ n: number; commits: number }>(
        'SELECT count(*) AS n, count(DISTINCT r.xmin::text) AS commits FROM task_result AS r JOIN task_message AS m ON m.task_id = r.task_id AND m.xmin = r.xmin',
        [],
      )
      assert.deepEqual(row, { n: 100, commits: 1 })
      const delivered = await w.broker.receive(['q'], 200, 1000)
      assert.deepEqual(
        delivered.map(({ message }) => message.id),
        WORKERS,
        'in the order in which they were published',
      )
    })
  })
})
