import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Channel } from 'amqplib'
import { celeryTime } from '../../../src/lib/canvas/celery-time.js'
import { findTask } from '../../../src/lib/ledger/find.js'
import { openRabbitWorld, type RabbitWorld } from '../../helpers/rabbitmq.js'
import { putRow } from '../../helpers/rows.js'
import { needs } from '../../helpers/services.js'
import { until } from '../../helpers/until.js'
import { gate, working } from '../../helpers/working.js'

/** What a Celery client sends. */
async function fromPython(w: RabbitWorld, id: string, { headers = {}, args = [] as unknown[] } = {}) {
  const body = Buffer.from(JSON.stringify([args, {}, { callbacks: null, errbacks: null, chain: null, chord: null }]))
  const properties = { contentType: 'application/json', contentEncoding: 'utf-8', correlationId: id }
  await w.rabbit.channel.assertQueue(w.rabbit.queue('default'))
  w.rabbit.channel.sendToQueue(w.rabbit.queue('default'), body, { ...properties, headers: { task: 'note', id, retries: 0, ...headers } })
}

const inMs = (ms: number): { readonly eta: string } => ({ eta: celeryTime(Date.now() + ms) })

const ended = (w: RabbitWorld, taskId: string) =>
  until(async () => {
    const row = await findTask(w.database, taskId)
    return row?.finishedAt ? row : null
  }, `${taskId} to end`)

const held = async (w: RabbitWorld) => (await w.rabbit.count('default'))?.ready

/** Settings of a worker that looks often. */
const SETTINGS = { lease: 0.6 }

describe('a worker at RabbitMQ', () => {
  before(function () {
    return needs(this, 'RabbitMQ')
  })

  it('runs what a Celery client sent, and what another program of ours did', async () => {
    await using w = await openRabbitWorld(SETTINGS)
    w.app.task({ name: 'note', bind: true }, (task, text: string) => [text, task.request.headers, task.request.deliveries])
    await using _worker = working(w.app)
    const ours = await w.app.sendTask('note', ['ours'], { headers: { n: 300 } })
    await fromPython(w, 'theirs', { args: ['theirs'], headers: { tenant: 'acme', n: { '!': 'long', value: 5_000_000_000 } } })
    assert.deepEqual(await ours.get({ timeout: 10 }), ['ours', { n: 300 }, 1])
    assert.deepEqual((await ended(w, 'theirs')).result, ['theirs', { tenant: 'acme', n: 5_000_000_000 }, 1])
  })

  it('has a message with a future eta wait as a row, and runs it then under its id', async () => {
    await using w = await openRabbitWorld({ ...SETTINGS, scheduleEta: false })
    const startedAt = new Map<string, number>()
    w.app.task({ name: 'note', bind: true }, (task) => {
      startedAt.set(task.request.id, Date.now())
    })
    await using _worker = working(w.app, { concurrency: 1 })
    const eta = Date.now() + 1500
    for (let i = 0; i < 20; i++) await fromPython(w, `far ${i}`, { headers: inMs(3_600_000) })
    await fromPython(w, 'theirs', { headers: { eta: celeryTime(eta) } })
    await w.app.sendTask('note', [], { taskId: 'ours', eta: new Date(eta) })
    await w.app.sendTask('note', [], { taskId: 'now' })
    await ended(w, 'now') // none of those that wait stands in its way
    const waiting = await until(async () => {
      const rows = await Promise.all([...Array(20).keys()].map((i) => findTask(w.database, `far ${i}`)))
      return rows.every((row) => row !== null && row.publishedAt === null) && rows
    }, 'all to wait as rows')
    assert.deepEqual(new Set(waiting.map((row) => row?.status)), new Set(['PENDING']))
    for (const id of ['theirs', 'ours']) {
      await ended(w, id)
      assert.ok((startedAt.get(id) ?? 0) >= eta, `${id} starts no earlier than its eta`)
    }
    assert.equal(startedAt.size, 3)
  })

  it('keeps what a Celery message has for other Celery workers when it sends it on', async () => {
    await using w = await openRabbitWorld(SETTINGS)
    w.app.task('note', () => {})
    const worker = working(w.app)
    const body = { task: 'body', args: [], kwargs: {}, options: { task_id: 'b' }, subtask_type: null, immutable: false }
    const chord = Buffer.from(JSON.stringify([[], {}, { chord: body }]))
    const headers = { task: 'note', id: 'part', shadow: 'shown', group: 'g', ...inMs(500) }
    await w.rabbit.channel.assertQueue(w.rabbit.queue('default'))
    w.rabbit.channel.sendToQueue(w.rabbit.queue('default'), chord, { contentType: 'application/json', replyTo: 'me', headers })
    await until(() => findTask(w.database, 'part'), 'the row to wait')
    await worker[Symbol.asyncDispose]()
    await until(async () => (await w.app.tasks.sendScheduled()).length > 0, 'its eta')
    const sent = await w.rabbit.channel.get(w.rabbit.queue('default'), { noAck: true })
    assert.ok(sent)
    assert.deepEqual(JSON.parse(sent.content.toString())[2].chord, body)
    const { shadow, group, eta } = sent.properties.headers ?? {}
    assert.deepEqual([sent.properties.replyTo, shadow, group, eta], ['me', 'shown', 'g', null])
  })

  it('fetches ahead as many messages for each of its slots as it is told, and gives them back when it stops', async () => {
    await using w = await openRabbitWorld({ ...SETTINGS, prefetchMultiplier: 2 })
    const door = gate()
    let running = 0
    w.app.task({ name: 'late', acksLate: true }, async () => {
      running += 1
      await door.passed
    })
    for (let i = 0; i < 10; i++) await w.app.sendTask('late')
    await using working_ = working(w.app, { concurrency: 2 })
    await until(() => running === 2, 'two to run')
    await until(async () => (await held(w)) === 6, 'four to be with the worker, of which two run')
    working_.worker.stop()
    await until(async () => (await held(w)) === 8, 'what was fetched ahead to be back')
    door.open()
    await working_.ended
    assert.equal(await held(w), 8)
  })

  it('counts the deliveries of late-ack work on its row, and fails what no worker lived to finish', async () => {
    await using w = await openRabbitWorld({ ...SETTINGS, maxDeliveries: 2 })
    const counts: number[] = []
    w.app.task({ name: 'late', bind: true, acksLate: true }, async (task) => {
      counts.push(task.request.deliveries)
      await new Promise((resolve) => task.signal.addEventListener('abort', resolve, { once: true }))
    })
    await w.app.sendTask('late', [], { taskId: 'a' })
    for (let run = 1; run <= 2; run++) {
      const worker = working(w.app)
      await until(() => counts.length === run, `run ${run}`)
      await worker[Symbol.asyncDispose]()
      await w.database.run("DELETE FROM task_attempt WHERE kind = 'given-back'", []) // a worker that dies says no such thing
    }
    await using _worker = working(w.app)
    const row = await ended(w, 'a')
    assert.deepEqual(counts, [1, 2])
    assert.deepEqual([row.status, row.errorType, row.deliveries], ['FAILURE', 'WorkerLostError', 3])
    assert.match(row.errorMessage ?? '', /^delivered 2 times, and no worker lived to finish it$/)
    await until(async () => (await held(w)) === 0, 'its message to be gone')
  })

  it('counts them also for a task that leaves no row when it ends well', async () => {
    await using w = await openRabbitWorld({ ...SETTINGS, maxDeliveries: 1 })
    let ran = 0
    w.app.task({ name: 'late', bind: true, acksLate: true, ignoreResult: true }, async (task) => {
      ran += 1
      await new Promise((resolve) => task.signal.addEventListener('abort', resolve, { once: true }))
    })
    w.app.task({ name: 'well', acksLate: true, ignoreResult: true }, () => {})
    await w.app.sendTask('late', [], { taskId: 'a', ignoreResult: true })
    for (const worker of [working(w.app)]) {
      await until(() => ran === 1, 'the first run')
      await worker[Symbol.asyncDispose]()
      await w.database.run("DELETE FROM task_attempt WHERE kind = 'given-back'", [])
    }
    await using _worker = working(w.app)
    await w.app.sendTask('well', [], { taskId: 'b' })
    await until(async () => (await held(w)) === 0 && (await findTask(w.database, 'a')) === null, 'the message to be given up')
    await until(async () => (await findTask(w.database, 'b')) === null, 'the other to be forgotten')
    assert.equal(ran, 1)
  })

  it('leaves early-ack work alone whose worker has vanished: its ack may have been lost', async () => {
    await using w = await openRabbitWorld(SETTINGS)
    let ran = 0
    w.app.task('early', () => {
      ran += 1
    })
    w.app.task({ name: 'late', acksLate: true }, () => {
      ran += 10
    })
    const vanished = { status: 'STARTED', worker_id: 'gone', deliveries: 1, lease_until: Date.now() - 1000, started_at: Date.now() - 9000 }
    await w.app.sendTask('early', [], { taskId: 'early' })
    await w.app.sendTask('late', [], { taskId: 'late' })
    await w.database.run('DELETE FROM task_result', [])
    for (const id of ['early', 'late']) await putRow(w.database, { task_id: id, task: id, queue: w.rabbit.queue('default'), ...vanished })
    await using _worker = working(w.app)
    await ended(w, 'late')
    await until(async () => (await held(w)) === 0, 'both messages to be settled')
    assert.equal(ran, 10)
    assert.equal((await findTask(w.database, 'early'))?.status, 'STARTED')
    const stale = await w.app.tasks.findStale({ olderThan: 0 })
    assert.deepEqual(
      stale.map(({ taskId, reason }) => [taskId, reason]),
      [['early', 'lost']],
    )
  })

  it('gives its lease on a message up with the row, when it cannot say in time that it lives', async () => {
    await using w = await openRabbitWorld(SETTINGS)
    const broker = w.broker
    await w.app.sendTask('note', [], { taskId: 'a' })
    const queue = w.rabbit.queue('default')
    const take = () => until(async () => (await broker.receive([queue], 1, 600))[0], 'the message')
    const first = await take()
    const second = await take() // nobody acked or extended it
    assert.deepEqual([first.message.id, second.message.id], ['a', 'a'])
    assert.deepEqual([await broker.ack(first), await broker.ack(second)], [false, true])
  })

  it('keeps what has its message with a worker that is alive, while that one runs, and lets it go after', async () => {
    await using w = await openRabbitWorld(SETTINGS)
    const door = gate()
    let ran = 0
    w.app.task({ name: 'late', acksLate: true }, async () => {
      ran += 1
      await door.passed
    })
    await using _worker = working(w.app)
    await w.app.sendTask('late', [], { taskId: 'a' })
    await until(() => ran === 1, 'it to run')
    await fromPython(w, 'a', { headers: { task: 'late' } }) // the same once more
    await sleep(1500) // two leases
    door.open()
    assert.equal((await ended(w, 'a')).deliveries, 1)
    await until(async () => (await held(w)) === 0, 'the other message to be gone')
    await sleep(100)
    assert.equal(ran, 1)
  })
})

describe('a channel that RabbitMQ closes', () => {
  before(function () {
    return needs(this, 'RabbitMQ')
  })

  it('as it does when a message was not acked for half an hour, is opened again, and what runs is not run twice', async () => {
    await using w = await openRabbitWorld(SETTINGS)
    const door = gate()
    let ran = 0
    w.app.task({ name: 'late', acksLate: true }, async () => {
      ran += 1
      await door.passed
    })
    await using _worker = working(w.app)
    await w.app.sendTask('late', [], { taskId: 'a' })
    await until(() => ran === 1, 'it to run')
    const { inbox } = w.broker as unknown as { readonly inbox: { readonly current: { readonly channel: Channel } } }
    inbox.current.channel.ack({ fields: { deliveryTag: 4711 } } as never) // the same 406 as for a timeout
    await until(() => w.errors.some((error) => /closed the channel: .*406/.test((error as Error).message)), 'the channel to be closed')
    await sleep(1500)
    door.open()
    assert.equal((await ended(w, 'a')).status, 'SUCCESS')
    await until(async () => (await held(w)) === 0, 'its message to be gone')
    assert.equal(ran, 1)
  })
})

describe('a queue at RabbitMQ', () => {
  before(function () {
    return needs(this, 'RabbitMQ')
  })

  it('is declared as Celery declares its own, so that both may come first', async () => {
    await using w = await openRabbitWorld()
    await w.app.sendTask('note')
    const name = w.rabbit.queue('default')
    const celerys = await w.rabbit.connection.createChannel()
    await celerys.assertExchange(name, 'direct', { durable: true })
    await celerys.assertQueue(name, { durable: true })
    celerys.publish(name, name, Buffer.from('{}'))
    await until(async () => (await held(w)) === 2, 'the binding to lead there')
  })

  it('that exists with other arguments is used as it is', async () => {
    await using w = await openRabbitWorld()
    const name = w.rabbit.queue('default')
    await w.rabbit.channel.assertExchange(name, 'topic', { durable: false })
    await w.rabbit.channel.assertQueue(name, { durable: false, arguments: { 'x-max-priority': 5 } })
    w.app.task('note', () => 1)
    await using _worker = working(w.app)
    const result = await w.app.sendTask('note')
    assert.equal(await result.get({ timeout: 10 }), 1)
    assert.deepEqual(w.errors, [])
  })

  it('that is deleted under a worker is declared again', async () => {
    await using w = await openRabbitWorld(SETTINGS)
    w.app.task('note', () => 1)
    await using _worker = working(w.app)
    await (await w.app.sendTask('note')).get({ timeout: 10 })
    await w.rabbit.channel.deleteQueue(w.rabbit.queue('default'))
    await until(async () => ((await w.rabbit.count('default'))?.consumers ?? 0) > 0, 'the worker to take from it again')
    assert.equal(await (await w.app.sendTask('note')).get({ timeout: 10 }), 1)
  })

  it('has the arguments that it is to have', async () => {
    await using w = await openRabbitWorld()
    const queue = w.rabbit.queue('ranked')
    const { app } = await w.join({
      ...w.settings,
      defaultQueue: queue,
      concurrency: 1,
      queueArguments: { [queue]: { 'x-max-priority': 10 } },
    })
    const order: number[] = []
    app.task('note', (n: number) => {
      order.push(n)
    })
    for (const priority of [1, 9, 5]) await app.sendTask('note', [priority], { priority })
    await using _worker = working(app)
    await until(() => order.length === 3, 'all to run')
    assert.deepEqual(order, [9, 5, 1])
  })
})
