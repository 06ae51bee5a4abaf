import assert from 'node:assert/strict'
import SqliteDatabase from 'better-sqlite3'
import { itOnSqlite } from '../helpers/databases.js'
import { aMessage } from '../helpers/rows.js'
import { openWorld } from '../helpers/world.js'
import { brokerConformance } from './conformance.js'

const ALL = { counts: true, finds: true, holds: true, prioritises: true, pulls: true }

brokerConformance('SQL', ALL, async () => {
  const w = await openWorld()
  return {
    now: w.clock.now,
    pass: async (ms) => {
      w.clock.advance(ms)
    },
    connect: async () => (await w.join()).broker,
    [Symbol.asyncDispose]: () => w[Symbol.asyncDispose](),
  }
})

describe('the SQL broker in the database of the ledger', () => {
  it('as part of a commit publishes only when that commit is made', async () => {
    await using w = await openWorld()
    const within = w.broker.within
    assert.ok(within)
    await assert.rejects(
      w.database.write(async (sql) => {
        await within(sql).publish([aMessage({ id: 'a' })])
        throw new Error('rolled back')
      }),
      /rolled back/,
    )
    assert.equal(await w.broker.has('a'), false)
    await w.database.write((sql) => within(sql).publish([aMessage({ id: 'b' })]))
    assert.equal(await w.broker.has('b'), true)
  })

  it('as part of a commit that is rolled back neither acks, rejects, extends nor drops', async () => {
    await using w = await openWorld()
    const within = w.broker.within
    assert.ok(within)
    await w.broker.publish(['a', 'b', 'c', 'd'].map((id) => aMessage({ id })))
    const held = await w.broker.receive(['default'], 10, 1000)
    await assert.rejects(
      w.database.write(async (sql) => {
        const postings = within(sql)
        const [a, b, c] = held
        assert.ok(a && b && c)
        assert.deepEqual([await postings.ack(a), await postings.reject(b, { requeue: true })], [true, true])
        await postings.extend([c], w.clock.now() + 9999)
        await postings.drop(['d'])
        throw new Error('rolled back')
      }),
      /rolled back/,
    )
    assert.deepEqual(await w.broker.receive(['default'], 10, 1000), [])
    w.clock.advance(1000)
    assert.equal((await w.broker.receive(['default'], 10, 1000)).length, 4)
  })

  it('lets what is done with claimed messages be part of the commit that claims them: acked, or held', async () => {
    await using w = await openWorld()
    await w.broker.publish(['a', 'b', 'c'].map((id) => aMessage({ id })))
    const received = await w.broker.receive(['default'], 2, 1000, async (sql, claimed) => {
      assert.ok(w.broker.within)
      await w.broker.within(sql).publish([aMessage({ id: 'of the same commit' })])
      return new Set(claimed.slice(0, 1))
    })
    assert.deepEqual(
      received.map(({ message, deliveries, leaseUntil }) => [message.id, deliveries, leaseUntil]),
      [
        ['a', 1, w.clock.now() + 1000],
        ['b', 1, w.clock.now() + 1000],
      ],
    )
    const [a, b] = received
    assert.ok(a && b)
    assert.deepEqual([await w.broker.has('a'), await w.broker.ack(a), await w.broker.has('of the same commit')], [false, false, true])
    assert.equal(await w.broker.ack(b), true)
  })

  it('claims nothing when what is done with the claimed messages fails', async () => {
    await using w = await openWorld()
    await w.broker.publish([aMessage({ id: 'a' })])
    const failing = w.broker.receive(['default'], 2, 1000, async (sql, claimed) => {
      assert.ok(w.broker.within)
      await w.broker.within(sql).publish([aMessage({ id: 'undone' })])
      throw new Error(`failed with ${claimed.length}`)
    })
    await assert.rejects(failing, { message: 'failed with 1' })
    assert.equal(await w.broker.has('undone'), false)
    const [delivery] = await w.broker.receive(['default'], 2, 1000)
    assert.deepEqual([delivery?.message.id, delivery?.deliveries], ['a', 1])
  })

  itOnSqlite('writes nothing when it is asked and nothing is ready', async () => {
    await using w = await openWorld()
    await w.broker.publish([aMessage({ eta: w.clock.now() + 1000 }), aMessage({ id: 'other', queue: 'other' })])
    const other = new SqliteDatabase(w.database.name)
    try {
      const before = other.pragma('data_version', { simple: true })
      other.exec('BEGIN IMMEDIATE') // a writer would have to wait for this
      assert.deepEqual(await w.broker.receive(['default'], 10, 1000), [])
      await w.broker.wait(['default'], 60, new AbortController().signal)
      other.exec('ROLLBACK')
      assert.equal(other.pragma('data_version', { simple: true }), before)
    } finally {
      other.close()
    }
  })

  it('drops a body that no publish made, and goes on with the next', async () => {
    await using w = await openWorld()
    for (const body of ['{', 'null', '{}', '{"id":"other","task":"t","args":[]}']) {
      await w.database.run("INSERT INTO task_message (task_id, queue, priority, body) VALUES ('x', 'default', 9, ?)", [body])
    }
    await w.broker.publish([aMessage({ id: 'good' })])
    const received = await w.broker.receive(['default'], 10, 1000)
    assert.deepEqual(
      received.map(({ message }) => message.id),
      ['good'],
    )
    assert.equal(await w.broker.has('x'), false)
  })

  it('keeps its messages when the program ends', async () => {
    await using w = await openWorld()
    const first = await w.join()
    await first.broker.publish([aMessage()])
    await first.app.close()
    assert.equal((await (await w.join()).broker.receive(['default'], 10, 1000)).length, 1)
  })
})
