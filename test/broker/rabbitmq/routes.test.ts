import assert from 'node:assert/strict'
import { chain } from '../../../src/lib/app/canvas.js'
import type { Settings } from '../../../src/lib/app/settings.js'
import { findTask } from '../../../src/lib/ledger/find.js'
import { openRabbit, openRabbitWorld, type RabbitWorld } from '../../helpers/rabbitmq.js'
import { needs } from '../../helpers/services.js'
import { until } from '../../helpers/until.js'
import { working } from '../../helpers/working.js'

const row = async (w: RabbitWorld, taskId: string) => {
  const found = await findTask(w.database, taskId)
  assert.ok(found, `a row of ${taskId}`)
  return found
}

const whereOf = async (w: RabbitWorld, taskId: string) => {
  const { queue, exchange, routingKey } = await row(w, taskId)
  return { queue, exchange, routingKey }
}

const ended = (w: RabbitWorld, taskId: string) => until(async () => (await findTask(w.database, taskId))?.finishedAt, `${taskId} to end`)

const ready = (w: RabbitWorld, name: string, count: number) =>
  until(async () => (await w.rabbit.count(name))?.ready === count, `${count} messages in ${name}`)

const queuesOf = (w: RabbitWorld, ...names: string[]) => ({ queues: names.map((name) => w.rabbit.queue(name)) })

/** An exchange of somebody else's, which lives as long as the world and is named like one of its queues. */
async function withExchange(w: RabbitWorld, kind: 'topic' | 'fanout', bound: Readonly<Record<string, string>>): Promise<string> {
  const exchange = w.rabbit.queue('exchange')
  await w.rabbit.channel.assertExchange(exchange, kind, { durable: true })
  for (const [name, key] of Object.entries(bound)) {
    await w.rabbit.channel.assertQueue(w.rabbit.queue(name))
    await w.rabbit.channel.bindQueue(w.rabbit.queue(name), exchange, key)
  }
  return exchange
}

/** A world with the route of video.* to an exchange of its own. */
async function openRouted(kind: 'topic' | 'fanout', bound: Readonly<Record<string, string>>, settings: Partial<Settings> = {}) {
  const rabbit = await openRabbit()
  const routes = { 'video.*': { exchange: rabbit.queue('exchange'), routingKey: 'video.encode' } }
  const w = { ...(await openRabbitWorld({ lease: 0.6, ...settings, routes, defaultQueue: rabbit.queue('default') })), rabbit }
  await withExchange(w, kind, bound)
  return {
    ...w,
    exchange: rabbit.queue('exchange'),
    async [Symbol.asyncDispose]() {
      await w[Symbol.asyncDispose]()
      await rabbit[Symbol.asyncDispose]()
    },
  }
}

describe('a route to an exchange of RabbitMQ', () => {
  before(function () {
    return needs(this, 'RabbitMQ')
  })

  it('sends a task there with its routing key; the row has no queue until a worker has taken it from one', async () => {
    await using w = await openRouted('topic', { encoders: 'video.*', others: 'audio.*' })
    w.app.task('video.cut', () => 'cut')
    await w.app.sendTask('video.cut', [], { taskId: 'a' })
    assert.deepEqual(await whereOf(w, 'a'), { queue: '', exchange: w.exchange, routingKey: 'video.encode' })
    await ready(w, 'encoders', 1)
    assert.equal((await w.rabbit.count('others'))?.ready, 0)
    await using _worker = working(w.app, queuesOf(w, 'encoders'))
    await ended(w, 'a')
    assert.deepEqual(await whereOf(w, 'a'), { queue: w.rabbit.queue('encoders'), exchange: w.exchange, routingKey: 'video.encode' })
  })

  it('gives a task that the exchange copies to several queues to one worker', async () => {
    await using w = await openRouted('fanout', { one: '', two: '' })
    const { app: other } = await w.join()
    let runs = 0
    for (const app of [w.app, other]) {
      app.task('video.cut', () => {
        runs++
      })
    }
    await w.app.sendTask('video.cut', [], { taskId: 'a' })
    await using _one = working(w.app, queuesOf(w, 'one'))
    await using _two = working(other, queuesOf(w, 'two'))
    await ended(w, 'a')
    await Promise.all([ready(w, 'one', 0), ready(w, 'two', 0)])
    assert.equal(runs, 1)
  })

  it('is not where a retry goes: that goes straight back to the queue it ran from, or to the one it asks for', async () => {
    await using w = await openRouted('fanout', { encoders: '', others: '' })
    w.app.task({ name: 'video.cut', bind: true }, (task, queue: string | null) => {
      if (task.request.retries === 0) task.retry({ countdown: 60, ...(queue === null ? {} : { queue }) })
    })
    const stays = 'stays'
    await w.app.sendTask('video.cut', [null], { taskId: stays })
    await w.app.sendTask('video.cut', [w.rabbit.queue('slow')], { taskId: 'moves' })
    await using _worker = working(w.app, queuesOf(w, 'encoders'))
    for (const id of [stays, 'moves']) await until(async () => (await row(w, id)).status === 'RETRY', `${id} to wait`)
    const [encoders, slow] = [w.rabbit.queue('encoders'), w.rabbit.queue('slow')]
    assert.deepEqual(await whereOf(w, stays), { queue: encoders, exchange: '', routingKey: encoders })
    assert.deepEqual(await whereOf(w, 'moves'), { queue: slow, exchange: '', routingKey: slow })
  })

  it('is where a copy of its task goes again, unless an operator names a queue', async () => {
    await using w = await openRouted('topic', { encoders: 'video.*' })
    w.app.task('video.cut', () => {
      throw new Error('no')
    })
    const work = working(w.app, queuesOf(w, 'encoders'))
    await w.app.sendTask('video.cut', [], { taskId: 'a' })
    await ended(w, 'a')
    await work[Symbol.asyncDispose]()
    const [again] = await w.app.tasks.retry([await row(w, 'a')])
    const [moved] = await w.app.tasks.retry([await row(w, 'a')], { queue: w.rabbit.queue('spare'), force: true })
    assert.deepEqual(await whereOf(w, again?.newTaskId ?? ''), {
      queue: w.rabbit.queue('encoders'),
      exchange: w.exchange,
      routingKey: 'video.encode',
    })
    const spare = w.rabbit.queue('spare')
    assert.deepEqual(await whereOf(w, moved?.newTaskId ?? ''), { queue: spare, exchange: '', routingKey: spare })
    await Promise.all([ready(w, 'encoders', 1), ready(w, 'spare', 1)])
  })

  it('holds for a later step of a workflow, which a call may send to an exchange as well', async () => {
    await using w = await openRouted('topic', { encoders: 'video.*', listeners: 'audio.*' })
    const get = w.app.task('get', () => 1)
    const cut = w.app.task('video.cut', (n: number) => n + 1)
    const steps = chain(get.s(), cut.s(), get.si().set({ exchange: w.exchange, routingKey: 'audio.play' }))
    await using _worker = working(w.app, queuesOf(w, 'default', 'encoders'))
    await steps.applyAsync()
    await ready(w, 'listeners', 1)
  })

  it('that is not there keeps its own tasks unpublished, and no others; once it is there they are sent', async () => {
    await using w = await openRabbitWorld({ lease: 0.6 })
    const exchange = w.rabbit.queue('exchange')
    await w.app.sendTask('video.cut', [], { taskId: 'a', exchange, routingKey: 'k' })
    await w.app.sendTask('note', [], { taskId: 'b' })
    assert.match(String(w.errors[0]), /RabbitMQ has no exchange \S+ that this user may use: /)
    assert.deepEqual([(await row(w, 'a')).publishedAt, (await row(w, 'b')).publishedAt === null], [null, false])
    await withExchange(w, 'topic', { encoders: 'k' })
    await until(async () => {
      await w.sender.sendDue()
      return (await row(w, 'a')).publishedAt
    }, 'the sender to send it')
    await ready(w, 'encoders', 1)
  })

  it('that leads to no queue leaves the row unpublished, and the error names it', async () => {
    await using w = await openRouted('topic', {})
    await w.app.sendTask('video.cut', [], { taskId: 'a' })
    assert.equal((await row(w, 'a')).publishedAt, null)
    assert.match(String(w.errors[0]), /gave it back from the exchange \S+ with the routing key video\.encode \(NO_ROUTE\)/)
  })
})

/** A chain as Celery publishes it: its steps name a queue only where their caller did. */
async function chainFromPython(
  w: RabbitWorld,
  id: string,
  ...next: { readonly task: string; readonly id: string; readonly queue?: string }[]
) {
  const steps = next.map(({ task, id: taskId, queue = null }) => ({
    task,
    args: [],
    kwargs: {},
    options: { task_id: taskId, ...(queue === null ? {} : { queue }) },
    subtask_type: null,
    immutable: true,
  }))
  const body = Buffer.from(JSON.stringify([[], {}, { callbacks: null, errbacks: null, chain: steps.reverse(), chord: null }]))
  const properties = { contentType: 'application/json', contentEncoding: 'utf-8', correlationId: id }
  await w.rabbit.channel.assertQueue(w.rabbit.queue('default'))
  w.rabbit.channel.sendToQueue(w.rabbit.queue('default'), body, { ...properties, headers: { task: 'get', id, retries: 0 } })
}

describe("a step of Celery's that came without a queue", () => {
  before(function () {
    return needs(this, 'RabbitMQ')
  })

  it('goes where the routes of the worker say that sends it, or else to its default queue', async () => {
    await using rabbit = await openRabbit()
    const routes = { 'mail.*': rabbit.queue('mail'), 'video.*': { exchange: rabbit.queue('exchange'), routingKey: 'video.encode' } }
    await using own = await openRabbitWorld({ routes, defaultQueue: rabbit.queue('default') })
    const w = { ...own, rabbit }
    await withExchange(w, 'topic', { encoders: 'video.*' })
    for (const name of ['get', 'mail.send', 'video.cut', 'rest']) w.app.task(name, () => name)
    await using _worker = working(w.app, queuesOf(w, 'default', 'mail', 'encoders', 'asked'))
    const [mail, video, rest] = ['mail.send', 'video.cut', 'rest'].map((task) => ({ task, id: task }))
    assert.ok(mail && video && rest)
    await chainFromPython(w, 'first', mail, video, rest, { ...mail, id: 'asked', queue: rabbit.queue('asked') })
    await ended(w, 'asked')
    const queues = await Promise.all(['mail.send', 'video.cut', 'rest', 'asked'].map(async (id) => (await row(w, id)).queue))
    assert.deepEqual(queues, ['mail', 'encoders', 'default', 'asked'].map(rabbit.queue))
  })
})
