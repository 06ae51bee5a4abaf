import assert from 'node:assert/strict'
import fc from 'fast-check'
import { Redaction } from '../../src/lib/ledger/arguments.js'
import { findTask } from '../../src/lib/ledger/find.js'
import { cutPublished, markPublished, recordTask, recordTaskIfNew, unpublished } from '../../src/lib/ledger/record.js'
import { messageOf } from '../../src/lib/ledger/row.js'
import type { Json, JsonObject } from '../../src/lib/task/json.js'
import { inWordsOf } from '../helpers/databases.js'
import { aBeginning, aMessage, putRow, storedRow } from '../helpers/rows.js'
import { DAWN, openWorld } from '../helpers/world.js'

const WHOLE = new Redaction([])
const stored = (message = aMessage()) => WHOLE.stored(message, true)

/** JSON text as it would be read back, so that two objects that print alike are alike. */
const plain = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T

const nullable = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: null })
const instants = fc.integer({ min: 0, max: DAWN * 2 })
/** PostgreSQL has no text with a NUL in it. */
const isStorable = (text: string) => inWordsOf({ sqlite: true, postgres: !text.includes('\0'), mysql: true })
const names = fc.string({ minLength: 1, maxLength: 40, unit: 'binary' }).filter(isStorable)
const values = fc.jsonValue().map((value) => plain(value) as Json)
const objects = fc.dictionary(fc.string(), values).map((value) => plain(value) as JsonObject)

const messages = fc.record({
  task: names,
  args: fc.array(values),
  kwargs: objects,
  queue: names,
  exchange: names,
  routingKey: names,
  priority: fc.nat({ max: 255 }),
  eta: nullable(instants),
  expires: nullable(instants),
  retries: fc.nat(),
  parentId: nullable(names),
  rootId: names,
  groupId: nullable(names),
  groupIndex: nullable(fc.nat()),
  retryOf: nullable(names),
  periodicName: nullable(names),
  options: fc.record(
    { headers: objects, ignoreResult: fc.boolean(), resultExpires: nullable(fc.nat()), acksLate: fc.boolean() },
    { requiredKeys: [] },
  ),
  submittedAt: instants,
})

describe('the row of a task', () => {
  it('gives back every message it was written for, whole', async () => {
    await using w = await openWorld()
    let n = 0
    await fc.assert(
      fc.asyncProperty(messages, async (given) => {
        const message = aMessage({ ...given, id: `id-${++n}` })
        await w.database.write((sql) =>
          recordTask(sql, message, stored(message), aBeginning({ eta: message.eta, retries: message.retries })),
        )
        const row = await findTask(w.database, message.id)
        assert.ok(row)
        assert.deepEqual(plain(messageOf(row)), plain(message))
      }),
    )
  })

  it('is written once for each task id', async () => {
    await using w = await openWorld()
    const write = () => w.database.write((sql) => recordTask(sql, aMessage(), stored(), aBeginning()))
    await write()
    await assert.rejects(
      write(),
      /UNIQUE constraint failed: task_result.task_id|unique constraint "task_result_task_id"|for key '(task_result.)?task_result_task_id'/,
    )
  })

  it('that is there already is left alone when it is written only if new', async () => {
    await using w = await openWorld()
    const write = (task: string) => w.database.write((sql) => recordTaskIfNew(sql, aMessage({ task }), stored(), aBeginning()))
    assert.equal(await write('first'), true)
    const before = await storedRow(w.database, 'task-1')
    assert.equal(await write('second'), false)
    assert.deepEqual(await storedRow(w.database, 'task-1'), before)
  })

  it('of a task that a worker has already is written as started', async () => {
    await using w = await openWorld()
    const beginning = aBeginning({ status: 'STARTED', maxRetries: 3, started: { workerId: 'w1', leaseUntil: DAWN + 9, deliveries: 2 } })
    await w.database.write((sql) => recordTask(sql, aMessage(), stored(), beginning))
    const { status, worker_id, lease_until, deliveries, started_at, max_retries } = await storedRow(w.database, 'task-1')
    assert.deepEqual([status, worker_id, lease_until, deliveries, started_at, max_retries], ['STARTED', 'w1', DAWN + 9, 2, DAWN, 3])
  })

  it('that a worker has had before its broker confirmed it loses what the ledger must not keep, from what follows it as well', async () => {
    await using w = await openWorld()
    const secret = { kind: 'task', task: 't', args: [], kwargs: { token: 's3cret' }, options: {}, immutable: false } as const
    const message = aMessage({ kwargs: { token: 's3cret' }, options: { chain: [secret], headers: { a: 1 } } })
    const options = JSON.stringify({ ...message.options, acksLate: true })
    await putRow(w.database, { task_id: message.id, kwargs: '{"token":"s3cret"}', options, status: 'STARTED', deliveries: 1 })
    await cutPublished(w.database, message, new Redaction(['kwargs.token']).stored(message, true))
    const row = await storedRow(w.database, message.id)
    assert.ok(!JSON.stringify(row).includes('s3cret'), row.options)
    assert.deepEqual(Object.keys(JSON.parse(row.options)).sort(), ['acksLate', 'chain', 'headers', 'redacted'])
  })

  it("notes the broker's confirmation once, and never on a row that has ended", async () => {
    await using w = await openWorld()
    await putRow(w.database, { task_id: 'task-1', published_at: null })
    await putRow(w.database, { task_id: 'task-2', published_at: null, status: 'REVOKED' })
    const mark = (id: string, at: number) => w.database.write((sql) => markPublished(sql, aMessage({ id }), stored(), at))
    assert.deepEqual([await mark('task-1', DAWN + 1), await mark('task-1', DAWN + 2), await mark('task-2', DAWN + 3)], [true, false, false])
    const { published_at, updated_at } = await storedRow(w.database, 'task-1')
    assert.deepEqual([published_at, updated_at], [DAWN + 1, DAWN + 1])
  })

  for (const [what, change] of [
    ['a retry', "status = 'RETRY', retries = 1, eta = ?"],
    ['its turn by a rate', 'eta = ?'],
  ] as const) {
    it(`is not confirmed by the message before when it waits for ${what} meanwhile, within the same millisecond`, async () => {
      await using w = await openWorld()
      await putRow(w.database, { task_id: 'task-1', published_at: null })
      const since = (await unpublished(w.database, ['task-1'])).get('task-1')
      await w.database.run(`UPDATE task_result SET ${change}`, [DAWN + 60_000])
      assert.ok(since)
      assert.equal(await w.database.write((sql) => markPublished(sql, aMessage(), stored(), DAWN, since)), false)
      assert.equal((await storedRow(w.database, 'task-1')).published_at, null)
    })
  }

  it('keeps nothing of what is to be cut once it is published, and what its worker has noted on it', async () => {
    await using w = await openWorld()
    await putRow(w.database, { task_id: 'task-1', options: '{"chain":[{"kwargs":{"token":"secret"}}],"acksLate":true}' })
    const cut = { args: '[]', kwargs: '{}', options: '{"chain":[{"kwargs":{"token":"[redacted]"}}],"redacted":["kwargs.token"]}' }
    await w.database.write((sql) => cutPublished(sql, aMessage(), cut))
    const { options } = await storedRow(w.database, 'task-1')
    assert.ok(!options.includes('secret'), options)
    assert.deepEqual(JSON.parse(options), { ...JSON.parse(cut.options), acksLate: true })
  })
})
