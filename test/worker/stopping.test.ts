import assert from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import { itOnSqlBroker } from '../helpers/databases.js'
import { assertMessages, assertWaiting } from '../helpers/messages.js'
import { refuse, trigger } from '../helpers/triggers.js'
import { until } from '../helpers/until.js'
import { gate, working } from '../helpers/working.js'
import { openWorld, type World } from '../helpers/world.js'

const countOf = (w: World, status: string) => w.app.tasks.count({ statuses: [status] })

describe('a worker', () => {
  it('runs as many tasks at one time as its concurrency, and no more', async () => {
    await using w = await openWorld()
    let running = 0
    let most = 0
    const door = gate()
    const task = w.app.task('count', async () => {
      most = Math.max(most, ++running)
      await door.passed
      running -= 1
    })
    const results = await Promise.all(Array.from({ length: 7 }, () => task.delay()))
    await using _ = working(w.app, { concurrency: 3 })
    await until(() => running === 3, 'three tasks to run')
    assert.equal(await countOf(w, 'STARTED'), 3)
    assert.equal(await countOf(w, 'PENDING'), 4)
    door.open()
    await Promise.all(results.map((result) => result.get({ timeout: 10 })))
    assert.equal(most, 3)
  })

  // Celery's worker_prefetch_multiplier is 4; what a worker holds and does not run, another one could be running
  // RabbitMQ has a worker fetch ahead, as many as broker/rabbitmq/worker.test.ts says
  itOnSqlBroker('holds no more late-ack messages than it runs tasks', async () => {
    await using w = await openWorld()
    await w.database.run('CREATE TABLE held (messages INTEGER)', [])
    const count = 'INSERT INTO held SELECT count(*) FROM task_message WHERE held_until IS NOT NULL'
    await trigger(w.database, { name: 'holds', when: 'AFTER UPDATE', table: 'task_message', action: count })
    const task = w.app.task({ name: 'late', acksLate: true }, () => turn())
    const results = await Promise.all(Array.from({ length: 40 }, () => task.delay()))
    await using _ = working(w.app, { concurrency: 4 })
    await Promise.all(results.map((result) => result.get({ timeout: 10 })))
    assert.deepEqual(await w.database.all('SELECT max(messages) AS most FROM held', []), [{ most: 4 }])
  })

  it('takes the messages of its own queues only', async () => {
    await using w = await openWorld()
    const task = w.app.task('here', () => 1)
    const [mail, other] = [await task.applyAsync([], { queue: 'mail' }), await task.delay()]
    {
      await using _ = working(w.app, { queues: ['mail', 'more'] })
      await mail.get({ timeout: 10 })
      assert.equal(await other.state(), 'PENDING')
    }
    await using _ = working(w.app)
    await other.get({ timeout: 10 })
  })

  it('is on the list of workers while it lives, and not after an orderly stop', async () => {
    await using w = await openWorld()
    const listed = () => w.database.all<{ worker_id: string; pid: number }>('SELECT worker_id, pid FROM task_worker', [])
    await using here = working(w.app)
    const [row] = await until(async () => {
      const rows = await listed()
      return rows.length > 0 && rows
    }, 'the worker to beat')
    assert.deepEqual(row, { worker_id: here.worker.workerId, pid: process.pid })
    here.worker.stop()
    await here.ended
    assert.deepEqual(await listed(), [])
  })

  it('goes on when a result cannot be written, and its task is found as lost', async () => {
    await using w = await openWorld()
    const task = w.app.task('answer', (answer: string) => answer)
    await refuse(w.database, { name: 'no_room', when: 'BEFORE UPDATE', table: 'task_result', condition: `NEW.result = '"too much"'` })
    await using _ = working(w.app)
    const [bad, good] = [await task.delay('too much'), await task.delay('well')]
    assert.equal(await good.get({ timeout: 10 }), 'well')
    await until(() => w.errors.length > 0, 'the failure to be reported')
    assert.match(String(w.errors[0]), /the disk is full/)
    assert.equal(await bad.state(), 'STARTED')
    w.clock.advance(30_000)
    assert.deepEqual(
      (await w.app.tasks.findStale()).map(({ taskId, reason }) => [taskId, reason]),
      [[bad.id, 'lost']],
    )
  })

  it('waits for a database that another program holds, and loses nothing', async () => {
    await using w = await openWorld()
    const door = gate()
    const task = w.app.task('wait', () => door.passed)
    await using _ = working(w.app)
    const result = await task.delay()
    await until(async () => (await result.state()) === 'STARTED', 'the task to start')
    const other = await w.join()
    const trx = await (await other.app.knex()).transaction()
    await trx.raw('UPDATE task_result SET meta = meta')
    door.open()
    for (let turns = 0; turns < 100; turns++) await turn()
    assert.equal(await result.state(), 'STARTED')
    await trx.commit()
    await result.get({ timeout: 10 })
    assert.deepEqual(w.errors, [])
  })
})

describe('a worker that is stopped', () => {
  it('ends what runs and takes nothing new', async () => {
    await using w = await openWorld()
    const door = gate()
    const task = w.app.task('wait', () => door.passed)
    await using here = working(w.app, { concurrency: 2 })
    const running = [await task.delay(), await task.delay()]
    await until(async () => (await countOf(w, 'STARTED')) === 2, 'the tasks to start')
    const waiting = await task.delay()
    here.worker.stop()
    let ended = false
    void here.ended.then(() => {
      ended = true
    })
    for (let turns = 0; turns < 100; turns++) await turn()
    assert.equal(ended, false)
    door.open()
    await here.ended
    for (const result of running) assert.equal(await result.state(), 'SUCCESS')
    assert.equal(await waiting.state(), 'PENDING')
    await assertMessages(w, 1)
  })

  for (const concurrency of [1, 2]) {
    it(`now gives late-ack work back at once, with ${concurrency - 1} slots free, and another worker runs it`, async () => {
      await using w = await openWorld()
      const door = gate()
      const task = w.app.task({ name: 'late', bind: true, acksLate: true }, async ({ request }) => {
        if (request.deliveries === 1) await door.passed
        return request.deliveries
      })
      await using here = working(w.app, { concurrency })
      const result = await task.delay()
      await until(async () => (await result.state()) === 'STARTED', 'the task to start')
      here.worker.stop({ now: true })
      await here.ended
      await using _ = working(w.app)
      assert.equal(await result.get({ timeout: 10 }), 2)
      door.open()
    })
  }

  it('now fails early-ack work as WorkerShutdown, and what its body says later no longer counts', async () => {
    await using w = await openWorld()
    const door = gate()
    const task = w.app.task('early', () => door.passed)
    await using here = working(w.app)
    const result = await task.delay()
    await until(async () => (await result.state()) === 'STARTED', 'the task to start')
    here.worker.stop({ now: true })
    await here.ended
    assert.equal(String(await result.get({ propagate: false })), 'WorkerShutdown: its worker was shut down before it ended')
    door.open()
    assert.equal(await result.state(), 'FAILURE')
  })

  it("now retries early-ack work whose onWorkerLost is 'retry'", async () => {
    await using w = await openWorld({ now: Date.now })
    const door = gate()
    const task = w.app.task({ name: 'early', bind: true, onWorkerLost: 'retry' }, ({ request }) =>
      request.retries === 0 ? door.passed : request.retries,
    )
    const result = await task.delay()
    {
      await using here = working(w.app)
      await until(async () => (await result.state()) === 'STARTED', 'the task to start')
      here.worker.stop({ now: true })
      await here.ended
      assert.equal(await result.state(), 'RETRY')
    }
    await using _ = working(w.app)
    assert.equal(await result.get({ timeout: 10 }), 1)
    door.open()
  })

  it('now, at whatever moment, leaves no late-ack message in its hands, also when the database is busy', async () => {
    await using w = await openWorld({ settings: { maxDeliveries: 100 } })
    const other = await (await w.join()).app.knex()
    const task = w.app.task({ name: 'late', acksLate: true }, () => new Promise(() => {}))
    await task.delay()
    await task.delay()
    for (let turns = 0; turns < 8; turns++) {
      await using here = working(w.app, { concurrency: 3, sender: false })
      for (let turned = 0; turned < turns; turned++) await turn()
      const trx = await other.transaction()
      await trx.raw('UPDATE task_result SET meta = meta') // nobody else can write until it ends
      here.worker.stop({ now: true })
      for (let turned = 0; turned < 10; turned++) await turn()
      await trx.rollback()
      await here.ended
      const held = await w.database.all(
        `SELECT task_id FROM task_message WHERE held_until IS NOT NULL
          UNION ALL SELECT task_id FROM task_result WHERE lease_until > ?`,
        [w.clock.now()],
      )
      assert.deepEqual(held, [], `stopped after ${turns} turns`)
      await assertWaiting(w, 2)
    }
    assert.deepEqual(w.errors, [])
  })
})
