import assert from 'node:assert/strict'
import knex, { type Knex } from 'knex'
import type { Postings } from '../../src/lib/broker/broker.js'
import { SqlBroker } from '../../src/lib/broker/sql/sql-broker.js'
import type { Sql } from '../../src/lib/database/sql.js'
import { Redaction } from '../../src/lib/ledger/arguments.js'
import { findTask } from '../../src/lib/ledger/find.js'
import { postpone } from '../../src/lib/ledger/moves.js'
import { messageOf } from '../../src/lib/ledger/row.js'
import { moveToStarted } from '../../src/lib/ledger/starts.js'
import { Follower } from '../../src/lib/publish/follow.js'
import { Publisher, TaskIdTakenError } from '../../src/lib/publish/publisher.js'
import { Sender } from '../../src/lib/schedule/sender.js'
import { UsageError } from '../../src/lib/task/errors.js'
import type { TaskMessage } from '../../src/lib/task/message.js'
import { inWordsOf, itOnSqlBroker } from '../helpers/databases.js'
import { assertWaiting, takeAll } from '../helpers/messages.js'
import { aMessage, storedRow } from '../helpers/rows.js'
import { until } from '../helpers/until.js'
import { DAWN, openWorld, type World } from '../helpers/world.js'

async function assertCounts(w: World, expected: { readonly rows: number; readonly messages: number }): Promise<void> {
  const [found] = await w.database.all<{ n: number }>('SELECT count(*) AS n FROM task_result', [])
  assert.equal(found?.n, expected.rows)
  await assertWaiting(w, expected.messages)
}

const NOTHING = { rows: 0, messages: 0 }

describe('a published task', () => {
  it('is a PENDING row with all it was called with, before any worker sees it', async () => {
    await using w = await openWorld()
    const result = await w.app.sendTask('mail.send', ['a@b.c'], { kwargs: { cc: ['d@e.f'] }, queue: 'mail', priority: 5, expires: 60 })
    const row = await storedRow(w.database, result.id)
    assert.deepEqual(
      [row.status, row.task, row.args, row.kwargs, row.queue, row.exchange, row.routing_key, row.priority, row.submitted_at, row.expires],
      ['PENDING', 'mail.send', '["a@b.c"]', '{"cc":["d@e.f"]}', 'mail', '', 'mail', 5, DAWN, DAWN + 60_000],
    )
    assert.deepEqual([row.published_at, row.updated_at, row.finished_at, row.worker_id], [DAWN, DAWN, null, null])
    const [message] = await takeAll(w, 'mail')
    assert.equal(message?.id, result.id)
  })

  // RabbitMQ's come one after the other, and a sender publishes what a crash has left between them
  itOnSqlBroker('has its row and its message in one commit', async () => {
    await using w = await openWorld()
    await w.database.run('DROP TABLE task_message', [])
    await assert.rejects(
      w.app.sendTask('add'),
      /no such table: task_message|relation "task_message" does not exist|Table .*task_message. doesn.t exist/,
    )
    assert.deepEqual(await w.database.all('SELECT * FROM task_result', []), [])
  })

  it('with the id of another is refused and leaves that one as it was', async () => {
    await using w = await openWorld()
    await w.app.sendTask('add', [1], { taskId: 'mine' })
    const before = await storedRow(w.database, 'mine')
    await assert.rejects(w.app.sendTask('add', [2], { taskId: 'mine' }), (error: Error) => {
      return (
        error instanceof TaskIdTakenError && error.message === 'a task with the id mine is recorded already; give another taskId, or none'
      )
    })
    assert.deepEqual(await storedRow(w.database, 'mine'), before)
    await assertCounts(w, { rows: 1, messages: 1 })
  })

  it('with the id of another that is published at the same time: one of them is refused', async () => {
    await using w = await openWorld()
    const other = await w.join()
    const both = await Promise.allSettled([w, other].map(({ app }) => app.sendTask('add', [], { taskId: 'mine' })))
    assert.deepEqual(both.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
    await assertCounts(w, { rows: 1, messages: 1 })
  })

  it('that is not tracked has a message and no row', async () => {
    await using w = await openWorld({ settings: { trackPublish: false } })
    await w.app.sendTask('add')
    await assertCounts(w, { rows: 0, messages: 1 })
  })

  it('whose result is ignored has a message and no row', async () => {
    await using w = await openWorld()
    await w.app.sendTask('add', [], { ignoreResult: true })
    await assertCounts(w, { rows: 0, messages: 1 })
  })

  it('whose arguments are redacted keeps them in its message and not in its row', async () => {
    await using w = await openWorld({ settings: { redact: ['kwargs.token', 'args[0].card'] } })
    const result = await w.app.sendTask('pay', [{ card: '4111', name: 'Ada' }], { kwargs: { token: 'secret' } })
    const { args, kwargs, options } = await storedRow(w.database, result.id)
    assert.deepEqual([args, kwargs], ['[{"card":"[redacted]","name":"Ada"}]', '{"token":"[redacted]"}'])
    assert.deepEqual(JSON.parse(options), { redacted: ['kwargs.token', 'args[0].card'] })
    const [message] = await takeAll(w)
    assert.deepEqual([message?.args, message?.kwargs], [[{ card: '4111', name: 'Ada' }], { token: 'secret' }])
  })

  it('that JSON cannot carry is refused before anything is written', async () => {
    await using w = await openWorld()
    await assert.rejects(w.app.sendTask('add', [{ when: new Date() }]), /args\[0]\.when is a Date/)
    await assertCounts(w, NOTHING)
  })
})

describe('a task published with an eta', () => {
  const ETA = new Date(Date.UTC(2080, 0, 1))

  it('is a SCHEDULED row that keeps its eta, and nothing is in the broker', async () => {
    await using w = await openWorld()
    const result = await w.app.sendTask('add', [1], { eta: ETA })
    const { status, eta, published_at } = await storedRow(w.database, result.id)
    assert.deepEqual([status, eta, published_at], ['SCHEDULED', ETA.getTime(), null])
    await assertCounts(w, { rows: 1, messages: 0 })
    assert.equal(await w.app.result(result.id).state(), 'SCHEDULED')
  })

  it('has that row also when its result is ignored or publishes are not tracked', async () => {
    for (const [settings, options] of [
      [{}, { ignoreResult: true }],
      [{ trackPublish: false }, {}],
    ] as const) {
      await using w = await openWorld({ settings })
      await w.app.sendTask('add', [], { eta: ETA, ...options })
      await assertCounts(w, { rows: 1, messages: 0 })
    }
  })

  it('waits in the broker instead where the app says so', async () => {
    await using w = await openWorld({ settings: { scheduleEta: false } })
    const result = await w.app.sendTask('add', [], { countdown: 1 })
    assert.equal(await result.state(), 'PENDING')
    if (!w.carrier) assert.deepEqual(await takeAll(w), [])
    w.clock.advance(1000) // RabbitMQ holds nothing back: who receives it does
    const messages = await takeAll(w)
    assert.deepEqual(
      messages.map(({ id, eta }) => [id, eta]),
      [[result.id, DAWN + 1000]],
    )
  })

  it('is sent with everything it was published with', async () => {
    await using w = await openWorld()
    const options = { queue: 'q2', priority: 5, expires: 7200, headers: { trace: 'x' }, resultExpires: 99, kwargs: { k: [1] } }
    const scheduled = await w.app.sendTask('add', [1, 'two'], { ...options, countdown: 60 })
    const original = messageOf((await findTask(w.database, scheduled.id)) ?? assert.fail())
    w.clock.advance(60_001)
    const [sent] = await w.sender.sendDue()
    assert.equal(sent?.outcome, 'sent')
    const [message] = await takeAll(w, 'q2')
    const id = sent?.newTaskId
    assert.deepEqual(message, { ...original, id, rootId: id, eta: null, submittedAt: w.clock.now() })
  })

  it('keeps a redacted argument until it is sent, and not after', async () => {
    await using w = await openWorld({ settings: { redact: ['args[0]'] } })
    const scheduled = await w.app.sendTask('add', ['secret'], { countdown: 60 })
    assert.equal((await storedRow(w.database, scheduled.id)).args, '["secret"]')
    w.clock.advance(60_001)
    const [sent] = await w.sender.sendDue()
    for (const id of [scheduled.id, sent?.newTaskId ?? '']) assert.equal((await storedRow(w.database, id)).args, '["[redacted]"]')
    assert.deepEqual((await takeAll(w))[0]?.args, ['secret'])
  })
})

describe('a publish inside a transaction', () => {
  const ownKnex = (w: World) =>
    inWordsOf({
      sqlite: () =>
        knex({ client: 'better-sqlite3', connection: { filename: w.database.name }, useNullAsDefault: true, pool: { min: 1, max: 1 } }),
      postgres: () => knex({ client: 'pg', connection: w.url, pool: { min: 1, max: 1 } }),
      mysql: () => knex({ client: 'mysql2', connection: w.url, pool: { min: 1, max: 1 } }),
    })()

  it("of the app's knex is there once that commits, row and message", async () => {
    await using w = await openWorld()
    const other = await w.join()
    const db = await w.app.knex()
    await db.transaction(async (trx) => {
      await w.app.sendTask('add', [1], { trx })
      assert.deepEqual(await other.database.all('SELECT * FROM task_result', []), [], 'nobody sees it before')
    })
    await assertCounts(w, { rows: 1, messages: 1 })
  })

  it('that is rolled back leaves neither row nor message', async () => {
    await using w = await openWorld()
    const db = await w.app.knex()
    const rolledBack = db.transaction(async (trx) => {
      await w.app.sendTask('add', [1], { trx })
      await w.app.sendTask('add', [1], { trx, countdown: 60 })
      await w.app.sendTask('add', [1], { trx, ignoreResult: true })
      throw new Error('changed my mind')
    })
    await assert.rejects(rolledBack, /changed my mind/)
    await assertCounts(w, NOTHING)
  })

  it("of the caller's own knex on the same database commits and rolls back with it", async () => {
    await using w = await openWorld()
    const own = ownKnex(w)
    try {
      await own.transaction((trx) => w.app.sendTask('add', [1], { trx }))
      await assertCounts(w, { rows: 1, messages: 1 })
      const trx = await own.transaction()
      await w.app.sendTask('add', [2], { trx })
      await trx.rollback()
      await assertCounts(w, { rows: 1, messages: 1 })
    } finally {
      await own.destroy()
    }
  })

  it('commits and rolls back with a savepoint in it', async () => {
    await using w = await openWorld()
    const db = await w.app.knex()
    await db.transaction(async (trx) => {
      await w.app.sendTask('add', ['kept'], { trx })
      await trx
        .transaction((inner) => w.app.sendTask('add', ['lost'], { trx: inner }).then(() => Promise.reject(new Error('inner'))))
        .catch(() => {})
    })
    await assertCounts(w, { rows: 1, messages: 1 })
  })

  it('on another database is refused, and nothing is written to either', async () => {
    await using w = await openWorld()
    await using stranger = await openWorld()
    const db = await stranger.app.knex()
    await db.transaction(async (trx) => {
      await assert.rejects(w.app.sendTask('add', [1], { trx }), (error: Error) => {
        return (
          error instanceof UsageError &&
          error.message.startsWith(`trx: expected a transaction on the ledger's database ${w.database.name}, got one on `)
        )
      })
    })
    for (const world of [w, stranger]) await assertCounts(world, NOTHING)
  })

  it('under an id that is taken is refused', async () => {
    await using w = await openWorld()
    const db = await w.app.knex()
    const twice = db.transaction(async (trx) => {
      await w.app.sendTask('add', [1], { trx, taskId: 'mine' })
      await w.app.sendTask('add', [1], { trx, taskId: 'mine' })
    })
    await assert.rejects(twice, TaskIdTakenError)
    await assertCounts(w, NOTHING)
  })
})

describe('a hook', () => {
  it('before the publish sees the message, and what it throws refuses it', async () => {
    await using w = await openWorld()
    const seen: string[] = []
    w.app.on('beforePublish', ({ task }) => {
      seen.push(task)
    })
    w.app.on('beforePublish', async ({ args }) => {
      if (args[0] === 'no') throw new Error('not on my watch')
    })
    w.app.on('beforePublish', () => {
      seen.push('last')
    })
    await assert.rejects(w.app.sendTask('add', ['no']), /not on my watch/)
    await assertCounts(w, NOTHING)
    await w.app.sendTask('sub', ['yes'])
    assert.deepEqual(seen, ['add', 'sub', 'last'])
  })

  it('after the publish finds the row, whether it is out or waits for its eta', async () => {
    await using w = await openWorld()
    const seen: (string | undefined)[] = []
    w.app.on('afterPublish', async ({ id }) => {
      seen.push((await findTask(w.database, id))?.status)
    })
    await w.app.sendTask('add')
    await w.app.sendTask('add', [], { countdown: 5 })
    assert.deepEqual(seen, ['PENDING', 'SCHEDULED'])
  })

  it('after the publish that throws is reported: the task is accepted all the same', async () => {
    await using w = await openWorld()
    w.app.on('afterPublish', () => {
      throw new Error('late')
    })
    await w.app.sendTask('add')
    await assertCounts(w, { rows: 1, messages: 1 })
    assert.deepEqual(
      w.errors.map((error) => (error as Error).message),
      ['late'],
    )
  })

  it('that does not exist is refused with those that do', async () => {
    await using w = await openWorld()
    assert.throws(
      () => w.app.on('befourPublish' as 'error', () => {}),
      /there is no hook named befourPublish; the hooks are beforePublish, afterPublish/,
    )
  })
})

/** A broker in a database of its own, which can be away. */
class OutsideBroker extends SqlBroker {
  override readonly within: ((sql: Sql) => Postings) | null = null
  away = false
  /** What workers do before the publisher has heard that its messages are stored. */
  meanwhile = async (): Promise<void> => {}

  override async publish(messages: readonly TaskMessage[]): Promise<void> {
    if (this.away) throw new Error('connect ECONNREFUSED')
    await super.publish(messages)
    await this.meanwhile()
  }
}

/** The ledger of one world with a broker that lives in another. */
async function apart(options: { trackPublish?: boolean; redact?: readonly string[] } = {}) {
  const w = await openWorld()
  const elsewhere = await openWorld()
  const broker = new OutsideBroker(elsewhere.database, w.clock.now)
  const errors: unknown[] = []
  const report = (error: unknown) => {
    errors.push(error)
  }
  const redaction = new Redaction(options.redact ?? [])
  const tracking = { trackPublish: options.trackPublish ?? true, scheduleEta: true }
  const publisher = new Publisher(w.database, broker, redaction, { beforePublish: [], afterPublish: [] }, tracking, w.clock.now, report)
  const follower = new Follower(publisher, redaction, w.settings, w.clock.now)
  const settings = { batch: 10, leaseMs: 30_000, resultExpires: null }
  const sender = new Sender(w.database, publisher, follower, redaction, settings, report, w.clock.now)
  const close = async () => {
    await elsewhere[Symbol.asyncDispose]()
    await w[Symbol.asyncDispose]()
  }
  return { ...w, broker, publisher, follower, sender, errors, [Symbol.asyncDispose]: close }
}

describe('a publish to a broker outside the ledger', () => {
  it('has its row first and is marked once the broker has confirmed it', async () => {
    await using w = await apart()
    w.clock.advance(5)
    await w.publisher.publish(aMessage())
    const { status, published_at } = await storedRow(w.database, 'task-1')
    assert.deepEqual([status, published_at], ['PENDING', DAWN + 5])
    assert.equal(await w.broker.has('task-1'), true)
  })

  it('is not marked when a worker has had it by then, and has it wait for another message', async () => {
    await using w = await apart()
    w.broker.meanwhile = async () => {
      w.clock.advance(1)
      const stored = { args: '[]', kwargs: '{}', options: '{}' }
      await w.database.write((sql) => postpone(sql, 'task-1', 0, DAWN + 60_000, stored, w.clock.now()))
    }
    await w.publisher.publish(aMessage())
    const { eta, published_at } = await storedRow(w.database, 'task-1')
    assert.deepEqual([eta, published_at], [DAWN + 60_000, null])
    w.broker.meanwhile = async () => {}
    w.clock.advance(60_000)
    assert.deepEqual(
      (await w.sender.sendDue()).map(({ taskId, outcome }) => [taskId, outcome]),
      [['task-1', 'sent']],
    )
    assert.ok((await storedRow(w.database, 'task-1')).published_at)
  })

  it('keeps no redacted argument, also when a worker has begun before the broker has confirmed', async () => {
    await using w = await apart({ redact: ['kwargs.subject'] })
    w.broker.meanwhile = async () => {
      const owner = { taskId: 'task-1', workerId: 'w', deliveries: 1, retries: 0 }
      const noted = '{"onWorkerLost":"fail"}'
      await w.database.write((sql) =>
        moveToStarted(sql, owner, { leaseUntil: DAWN + 30_000, maxRetries: 3, options: noted, track: true }, w.clock.now()),
      )
    }
    await w.publisher.publish(aMessage())
    const { status, kwargs, options } = await storedRow(w.database, 'task-1')
    assert.deepEqual([status, kwargs], ['STARTED', '{"subject":"[redacted]"}'])
    assert.deepEqual(JSON.parse(options), { onWorkerLost: 'fail', redacted: ['kwargs.subject'] })
  })

  it('that is away is accepted: the row says that nobody confirmed it, and a sender sends it later under the same id', async () => {
    await using w = await apart()
    w.broker.away = true
    await w.publisher.publish(aMessage())
    assert.match(String(w.errors[0]), /ECONNREFUSED/)
    assert.equal((await storedRow(w.database, 'task-1')).published_at, null)
    assert.deepEqual(
      (await w.app.tasks.findStale()).map(({ taskId, reason }) => [taskId, reason]),
      [['task-1', 'unpublished']],
    )

    w.clock.advance(30_000)
    const [failed] = await w.sender.sendDue()
    assert.deepEqual([failed?.outcome, failed?.error], ['failed', 'connect ECONNREFUSED'])
    assert.equal((await storedRow(w.database, 'task-1')).error_message, 'connect ECONNREFUSED')

    w.broker.away = false
    w.clock.advance(1)
    assert.deepEqual(
      (await w.sender.sendDue()).map(({ newTaskId }) => newTaskId),
      ['task-1'],
    )
    const [delivery] = await w.broker.receive(['default'], 10, 1000)
    assert.deepEqual(delivery?.message, aMessage())
    assert.deepEqual(await w.sender.sendDue(), [])
  })

  it('that is away refuses a task without a row: nobody would ever send it', async () => {
    await using w = await apart({ trackPublish: false })
    w.broker.away = true
    await assert.rejects(w.publisher.publish(aMessage()), /ECONNREFUSED/)
    await assert.rejects(w.publisher.publish(aMessage({ id: 'i', options: { ignoreResult: true } })), /ECONNREFUSED/)
    await assertCounts(w, NOTHING)
  })

  for (const [what, options, untracked] of [
    ['whose result is ignored', { ignoreResult: true }, {}],
    ['of trackPublish false', {}, { trackPublish: false }],
  ] as const) {
    it(`that is away when a scheduled task ${what} is due gets it once it is back: the row of the new task keeps it`, async () => {
      await using w = await apart(untracked)
      await w.publisher.publish(aMessage({ eta: DAWN + 1000, options }))
      w.clock.advance(1001)
      w.broker.away = true
      const [sent] = await w.sender.sendDue()
      const newId = sent?.newTaskId ?? assert.fail('nothing was sent')
      assert.deepEqual(
        (await w.app.tasks.findStale()).map(({ taskId, reason }) => [taskId, reason]),
        [[newId, 'unpublished']],
      )
      w.broker.away = false
      w.clock.advance(30_000)
      assert.deepEqual(
        (await w.sender.sendDue()).map(({ newTaskId, outcome }) => [newTaskId, outcome]),
        [[newId, 'sent']],
      )
      const [delivery] = await w.broker.receive(['default'], 10, 1000)
      assert.deepEqual([delivery?.message.id, delivery?.message.options], [newId, options])
      assert.deepEqual(await w.sender.sendDue(), [])
    })
  }

  for (const [what, options] of [
    ['', {}],
    [', when its result is ignored', { ignoreResult: true }],
  ] as const) {
    it(`inside a transaction is sent after the commit, and never after a rollback${what}`, async () => {
      await using w = await apart()
      const db = await w.app.knex()
      const publish = (id: string, trx: Knex.Transaction) => w.publisher.publish(aMessage({ id, options }), { trx })
      const trx = await db.transaction()
      await publish('kept', trx)
      const inner = await trx.transaction()
      await publish('inner', inner)
      await inner.commit()
      const taken = await trx.transaction()
      await publish('taken back', taken)
      await taken.rollback()
      assert.deepEqual([await w.broker.has('kept'), await w.broker.has('inner')], [false, false])
      await trx.commit()
      await until(async () => (await w.broker.has('kept')) && (await w.broker.has('inner')), 'both messages')

      await assert.rejects(
        db.transaction(async (doomed) => {
          await publish('lost', doomed)
          throw new Error('no')
        }),
      )
      const given = await db.transaction()
      await publish('given up', given)
      const within = await given.transaction()
      await publish('within', within)
      await within.commit()
      await given.rollback()
      await db.transaction((last) => publish('last', last))
      await until(() => w.broker.has('last'), 'the last message')
      for (const id of ['taken back', 'lost', 'given up', 'within']) assert.equal(await w.broker.has(id), false, id)
      assert.deepEqual(w.errors, [])
    })
  }
})
