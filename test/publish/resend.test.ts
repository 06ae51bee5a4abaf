import assert from 'node:assert/strict'
import fc from 'fast-check'
import { findTask } from '../../src/lib/ledger/find.js'
import { messageOf, type TaskRow } from '../../src/lib/ledger/row.js'
import type { PublishOptions } from '../../src/lib/publish/request.js'
import type { ResendTerms, Resent } from '../../src/lib/publish/resend.js'
import type { Json, JsonObject } from '../../src/lib/task/json.js'
import { itOnSqlBroker } from '../helpers/databases.js'
import { fail, start, succeed } from '../helpers/lives.js'
import { take } from '../helpers/messages.js'
import { type Columns, putRow, storedRow } from '../helpers/rows.js'
import { DAWN, openWorld, type World } from '../helpers/world.js'

const DAY = 86_400_000

async function rowOf({ database }: World, taskId: string): Promise<TaskRow> {
  const row = await findTask(database, taskId)
  assert.ok(row, taskId)
  return row
}

/** Sends one recorded task again, as `retry` does. */
async function again(w: World, taskId: string, terms: ResendTerms = {}): Promise<Resent> {
  const [resent] = await w.app.tasks.retry([await rowOf(w, taskId)], terms)
  assert.ok(resent)
  return resent
}

const plain = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T

const values = fc.jsonValue().map((value) => plain(value) as Json)
const objects = fc.dictionary(fc.string(), values).map((value) => plain(value) as JsonObject)

const options: fc.Arbitrary<PublishOptions> = fc.record(
  {
    kwargs: objects,
    queue: fc.string({ minLength: 1, maxLength: 40 }),
    priority: fc.nat({ max: 255 }),
    headers: objects,
    expires: fc.oneof(
      fc.integer({ min: 60, max: 9999 }), // RabbitMQ drops what has expired, by a clock of its own
      fc.date({ min: new Date(DAWN + 60_000), max: new Date(DAWN + DAY), noInvalidDate: true }),
    ),
    resultExpires: fc.option(fc.nat(), { nil: null }),
  },
  { requiredKeys: [] },
)

describe('a copy of a recorded task', () => {
  it('carries everything the original was published with, under a new id, and names the original', async () => {
    await using w = await openWorld()
    await fc.assert(
      fc.asyncProperty(fc.array(values), options, async (args, given) => {
        const { id } = await w.app.sendTask('mail.send', args, given)
        await fail(w, id, given.queue)
        const before = await storedRow(w.database, id)
        w.clock.advance(0)

        const { newTaskId, error } = await again(w, id)

        assert.equal(error, null)
        assert.ok(newTaskId && newTaskId !== id)
        const original = messageOf(await rowOf(w, id))
        const copy = { ...original, id: newTaskId, rootId: newTaskId, retryOf: id }
        assert.deepEqual(plain(messageOf(await rowOf(w, newTaskId))), plain(copy))
        assert.deepEqual(plain(await take(w, 1, given.queue)), plain([copy]))
        assert.deepEqual(await storedRow(w.database, id), before, 'the original is not touched')
      }),
      { numRuns: 50 },
    )
  })

  it('is found from the original, and the original from it', async () => {
    await using w = await openWorld()
    const { id } = await w.app.sendTask('add')
    await fail(w, id)
    const { newTaskId } = await again(w, id)
    assert.deepEqual((await w.app.tasks.history(id))?.retriedAs, [newTaskId])
    assert.equal((await w.app.tasks.get(newTaskId ?? ''))?.retryOf, id)
  })

  it('begins anew: not retried, not delivered, without an error', async () => {
    await using w = await openWorld()
    await putRow(w.database, {
      task_id: 't',
      status: 'FAILURE',
      retries: 3,
      max_retries: 3,
      deliveries: 4,
      eta: DAWN - 5,
      error_type: 'Error',
      worker_id: 'w',
    })
    const { newTaskId } = await again(w, 't')
    const copy = await rowOf(w, newTaskId ?? '')
    const { status, retries, maxRetries, deliveries, eta, errorType, workerId, submittedAt } = copy
    assert.deepEqual([status, retries, maxRetries, deliveries, eta, errorType, workerId], ['PENDING', 0, null, 0, null, null, null])
    assert.equal(submittedAt.getTime(), w.clock.now())
  })

  it('stays in the tree and the group of the original', async () => {
    await using w = await openWorld()
    await putRow(w.database, {
      task_id: 't',
      status: 'FAILURE',
      root_id: 'root',
      parent_id: 'parent',
      group_id: 'g',
      group_index: 2,
      periodic_name: 'nightly',
    })
    const { newTaskId } = await again(w, 't')
    const { rootId, parentId, groupId, groupIndex, periodicName } = await rowOf(w, newTaskId ?? '')
    assert.deepEqual([rootId, parentId, groupId, groupIndex, periodicName], ['root', 'parent', 'g', 2, 'nightly'])
  })

  it('has as long to live as the original had, once the time of that has passed', async () => {
    await using w = await openWorld()
    const { id } = await w.app.sendTask('add', [], { expires: 60 })
    await fail(w, id)
    w.clock.advance(60_000)
    const { newTaskId } = await again(w, id)
    assert.equal((await rowOf(w, newTaskId ?? '')).expires?.getTime(), w.clock.now() + 60_000)
  })

  it('is recorded also when its result is ignored: the ledger shows that it was sent', async () => {
    await using w = await openWorld()
    await putRow(w.database, { task_id: 't', status: 'FAILURE', options: '{"ignoreResult":true}' })
    const { newTaskId } = await again(w, 't')
    assert.deepEqual((await rowOf(w, newTaskId ?? '')).options, { ignoreResult: true })
  })

  it('goes to another queue, at another priority or later when the operator says so', async () => {
    await using w = await openWorld()
    await putRow(w.database, { task_id: 't', status: 'FAILURE', queue: 'mail', routing_key: 'mail', priority: 1 })
    const { newTaskId } = await again(w, 't', { queue: 'slow', priority: 9, eta: new Date(DAWN + DAY) })
    const { queue, routingKey, priority, eta, status } = await rowOf(w, newTaskId ?? '')
    assert.deepEqual([queue, routingKey, priority, eta?.getTime(), status], ['slow', 'slow', 9, DAWN + DAY, 'SCHEDULED'])
  })
})

const LIVE = { worker_id: 'w7', deliveries: 1, lease_until: DAWN + 9 }

/** Rows that are not sent again, why, and whether an operator may insist. */
const REFUSED: readonly (readonly [string, Omit<Columns, 'task_id'>, RegExp, 'may be forced' | 'never'])[] = [
  ['that ended well', { status: 'SUCCESS' }, /^it ended SUCCESS; --force sends it again$/, 'may be forced'],
  ['that was ignored', { status: 'IGNORED' }, /^it ended IGNORED/, 'may be forced'],
  ['whose scheduled task was sent', { status: 'SCHEDULED_SENT' }, /^it ended SCHEDULED_SENT/, 'may be forced'],
  ['that a worker is running', { status: 'STARTED', ...LIVE }, /^worker w7 is running it; --force sends a second one$/, 'may be forced'],
  ['that no broker took', { published_at: null }, /^it was never published; a sender publishes it itself/, 'never'],
  ['that is scheduled', { status: 'SCHEDULED', eta: DAWN }, /^it waits for 2026-11-20T12:00:00.000Z; a sender sends it then/, 'never'],
  ['that waits for a retry', { status: 'RETRY', eta: DAWN, published_at: null }, /^it waits for 2026-11-20T12:00:00.000Z/, 'never'],
  [
    'whose arguments are redacted',
    { status: 'FAILURE', options: '{"redacted":["kwargs.token"]}' },
    /^its arguments are redacted \(kwargs\.token\)$/,
    'never',
  ],
  ['whose arguments are no JSON', { status: 'FAILURE', args: '[1' }, /^its args are missing or not a JSON array$/, 'never'],
]

describe('a recorded task', () => {
  for (const [what, columns, why, force] of REFUSED) {
    it(`${what} is not sent again${force === 'never' ? ', not even by force' : ' unless it is forced'}`, async () => {
      await using w = await openWorld()
      await putRow(w.database, { task_id: 't', ...columns })
      const refused = await again(w, 't')
      assert.match(refused.error ?? '', why)
      assert.equal(refused.newTaskId, null)
      const forced = await again(w, 't', { force: true })
      if (force === 'never') assert.match(forced.error ?? '', why)
      else assert.equal(forced.error, null)
      assert.equal((await w.app.tasks.list()).length, force === 'never' ? 1 : 2)
    })
  }

  for (const [what, columns] of [
    ['that failed', { status: 'FAILURE' }],
    ['that was revoked', { status: 'REVOKED' }],
    ['whose worker is gone', { status: 'STARTED', worker_id: 'w7', deliveries: 1, lease_until: DAWN }],
    ['whose message is gone', {}],
  ] as const) {
    it(`${what} is sent again`, async () => {
      await using w = await openWorld()
      await putRow(w.database, { task_id: 't', ...columns })
      assert.equal((await again(w, 't')).error, null)
    })
  }

  // RabbitMQ does not say whether it has a message
  itOnSqlBroker('whose message is still in the queue is not sent again unless it is forced', async () => {
    await using w = await openWorld()
    const { id } = await w.app.sendTask('add', [], { queue: 'mail' })
    assert.match((await again(w, id)).error ?? '', /^its message is still in the queue mail: a worker of that queue will run it; --force/)
    assert.equal((await again(w, id, { force: true })).error, null)
  })

  it('that was sent again before is not sent a third time unless it is forced', async () => {
    await using w = await openWorld()
    const { id } = await w.app.sendTask('add')
    await fail(w, id)
    const { newTaskId } = await again(w, id)
    assert.equal((await again(w, id)).error, `it was sent again before, as ${newTaskId}; --force sends another`)
    assert.equal((await again(w, id, { force: true })).error, null)
  })

  it('that two operators send again at once is sent once', async () => {
    await using w = await openWorld()
    const other = await w.join()
    for (let n = 0; n < 10; n++) {
      const id = `t${n}`
      await putRow(w.database, { task_id: id, status: 'FAILURE' })
      const row = await rowOf(w, id)
      const both = await Promise.all([w, other, w, other].map(({ app }) => app.tasks.retry([row])))
      assert.equal(both.flat().filter(({ error }) => error === null).length, 1)
      assert.equal((await w.app.tasks.history(id))?.retriedAs.length, 1)
    }
  })

  it('that a hook does not let through stays as it is', async () => {
    await using w = await openWorld()
    w.app.on('beforePublish', () => {
      throw new Error('frozen')
    })
    await putRow(w.database, { task_id: 't', status: 'FAILURE' })
    await assert.rejects(again(w, 't'), /frozen/)
    assert.equal((await w.app.tasks.list()).length, 1)
  })
})

describe('sending many again', () => {
  it('takes each by itself, tells of each, and goes on past one that is refused', async () => {
    await using w = await openWorld()
    for (const status of ['FAILURE', 'SUCCESS', 'REVOKED']) await putRow(w.database, { task_id: status, status })
    const told: string[] = []
    const rows = await w.app.tasks.list()
    const sent = await w.app.tasks.retry(rows, { each: ({ taskId, error }) => told.push(`${taskId} ${error === null}`) })
    assert.deepEqual(told, ['REVOKED true', 'SUCCESS false', 'FAILURE true'])
    assert.equal(sent.length, 3)
  })

  it('stops at the first that is refused when it is told to', async () => {
    await using w = await openWorld()
    for (const status of ['FAILURE', 'SUCCESS', 'REVOKED']) await putRow(w.database, { task_id: status, status })
    const sent = await w.app.tasks.retry({}, { failFast: true })
    assert.deepEqual(
      sent.map(({ taskId }) => taskId),
      ['REVOKED', 'SUCCESS'],
    )
  })

  it("does not answer Celery's clients, which wait for the original, and does not count in its chord again", async () => {
    await using w = await openWorld()
    const celery = { reply_to: 'r', chord: { task: 'tsum' } }
    await putRow(w.database, { task_id: 'a', status: 'FAILURE', options: JSON.stringify({ celery, timeLimit: 7 }) })
    const { newTaskId } = await again(w, 'a')
    assert.deepEqual((await rowOf(w, newTaskId ?? '')).options, { timeLimit: 7 })
  })

  it('takes what a filter means', async () => {
    await using w = await openWorld()
    await putRow(w.database, { task_id: 'a', status: 'FAILURE', task: 'mail.send' })
    await putRow(w.database, { task_id: 'b', status: 'FAILURE', task: 'web' })
    assert.deepEqual(
      (await w.app.tasks.retry({ tasks: ['mail.*'] })).map(({ taskId }) => taskId),
      ['a'],
    )
  })

  it("of a started task waits for its worker's lease to run out", async () => {
    await using w = await openWorld()
    const { id } = await w.app.sendTask('add')
    await start(w, id)
    assert.match((await again(w, id)).error ?? '', /^worker by-hand is running it/)
    w.clock.advance(30_000)
    assert.equal((await again(w, id)).error, null)
  })

  it('of a task that has meanwhile ended well goes by what is recorded now, not by what was read', async () => {
    await using w = await openWorld()
    const { id } = await w.app.sendTask('add')
    const read = await rowOf(w, id)
    await succeed(w, id, '1')
    const [resent] = await w.app.tasks.retry([read])
    assert.match(resent?.error ?? '', /^it ended SUCCESS/)
  })
})
