import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { RabbitBroker } from '../../../src/lib/broker/rabbitmq/rabbitmq-broker.js'
import { findTask } from '../../../src/lib/ledger/find.js'
import { UnavailableError } from '../../../src/lib/task/errors.js'
import { openProxy, openRabbit, openRabbitWorld, type RabbitWorld } from '../../helpers/rabbitmq.js'
import { aMessage } from '../../helpers/rows.js'
import { needs } from '../../helpers/services.js'
import { until } from '../../helpers/until.js'
import { RABBITMQ } from '../../helpers/vhost.js'
import { gate, working } from '../../helpers/working.js'

/** Seconds. */
const LEASE = 0.6

/** A program that publishes through a proxy, and one that works at the server itself; both on one ledger. */
async function openBoth(query = '') {
  const { proxy, url } = await openProxy(query)
  const w = await openRabbitWorld({ lease: LEASE })
  const publisher = await w.join({ broker: url, defaultQueue: w.rabbit.queue('default'), lease: LEASE })
  const ran: string[] = []
  for (const { app } of [w, publisher]) {
    app.task({ name: 'note', bind: true }, (task, _text: string) => {
      ran.push(task.request.id)
    })
  }
  const send = (taskId: string) => publisher.app.sendTask('note', ['x'.repeat(20_000)], { taskId })
  return {
    w,
    proxy,
    publisher,
    ran,
    send,
    async [Symbol.asyncDispose]() {
      await w[Symbol.asyncDispose]()
      await proxy[Symbol.asyncDispose]()
    },
  }
}

const row = async (w: RabbitWorld, taskId: string) => {
  const found = await findTask(w.database, taskId)
  assert.ok(found, `a row of ${taskId}`)
  return found
}

const ended = (w: RabbitWorld, taskId: string) => until(async () => (await row(w, taskId)).finishedAt !== null, `${taskId} to end`)

const empty = (w: RabbitWorld) => until(async () => (await w.rabbit.count('default'))?.ready === 0, 'the queue to be empty')

const said = (errors: readonly unknown[]): string[] => errors.map((error) => (error as Error).message)

describe('a publish through RabbitMQ', () => {
  before(function () {
    return needs(this, 'RabbitMQ')
  })

  it('whose connection is cut in the middle leaves its row unpublished; a sender sends it, and it runs once', async () => {
    await using both = await openBoth()
    const { w, proxy, publisher, ran, send } = both
    await send('whole')
    void proxy.cutAfter(5000)
    await send('half')
    assert.match(said(publisher.errors)[0] ?? '', /^RabbitMQ at amqp:\/\/127\.0\.0\.1:\d+ did not confirm the message of task half: /)
    const { status, publishedAt } = await row(w, 'half')
    assert.deepEqual([status, publishedAt], ['PENDING', null])
    assert.equal((await w.rabbit.count('default'))?.ready, 1)
    await using _worker = working(w.app)
    await ended(w, 'half')
    assert.deepEqual(ran.sort(), ['half', 'whole'])
  })

  it('whose connection is cut anywhere in what the server says fails, and hangs nowhere', async () => {
    await using rabbit = await openRabbit()
    const { proxy, url } = await openProxy()
    await using _proxy = proxy
    const queue = rabbit.queue('default')
    let confirmed = false
    for (let bytes = 1; !confirmed; bytes += 11) {
      const broker = new RabbitBroker({ url, prefetchMultiplier: 4, queueArguments: {} }, () => {})
      void proxy.cutAfter(bytes, 'server')
      const failure = await broker.publish([aMessage({ queue, routingKey: queue })]).catch((error) => error)
      assert.ok(failure === undefined || failure instanceof UnavailableError, `after ${bytes} bytes: ${failure}`)
      confirmed = failure === undefined
      await broker.close()
    }
  })

  it('whose confirm is lost is sent again, so its message comes twice, and runs once', async () => {
    await using both = await openBoth()
    const { w, proxy, publisher, ran, send } = both
    await send('first')
    proxy.silence('server')
    const sending = send('twice')
    await until(async () => (await w.rabbit.count('default'))?.ready === 2, 'the message to arrive')
    assert.equal((await row(w, 'twice')).publishedAt, null)
    proxy.cut()
    proxy.thaw()
    await sending
    assert.equal((await row(w, 'twice')).publishedAt, null)
    await until(async () => (await publisher.app.tasks.sendScheduled()).length > 0, 'the lease to pass, and the message to be sent again')
    assert.equal((await w.rabbit.count('default'))?.ready, 3)
    await using _worker = working(w.app)
    await ended(w, 'twice')
    await empty(w)
    assert.deepEqual(ran.sort(), ['first', 'twice'])
  })

  it('on a connection that is frozen fails once the heartbeat is missed, and the next one finds another', async () => {
    await using rabbit = await openRabbit()
    const { proxy, url } = await openProxy('/%2F?heartbeat=1')
    await using _proxy = proxy
    const queue = rabbit.queue('default')
    const broker = new RabbitBroker({ url, prefetchMultiplier: 4, queueArguments: {} }, () => {})
    try {
      await broker.publish([aMessage({ queue, routingKey: queue })])
      proxy.freeze()
      await assert.rejects(broker.publish([aMessage({ queue, routingKey: queue })]), (error: Error) => {
        return error instanceof UnavailableError && /did not confirm the message of task task-1: Heartbeat timeout$/.test(error.message)
      })
      proxy.cut()
      proxy.thaw()
      await broker.publish([aMessage({ queue, routingKey: queue })])
    } finally {
      await broker.close()
    }
  })

  it('while the server is away is reported without the password, and sent when it is back', async () => {
    await using both = await openBoth()
    const { w, proxy, publisher, ran, send } = both
    await proxy.refuse()
    await send('later')
    const [message = ''] = said(publisher.errors)
    assert.match(message, /^RabbitMQ at amqp:\/\/127\.0\.0\.1:\d+ cannot be reached: connect ECONNREFUSED 127\.0\.0\.1:\d+$/)
    assert.equal((publisher.errors[0] as UnavailableError).exitCode, 69)
    const rowless = publisher.app.sendTask('note', [''], { ignoreResult: true })
    await assert.rejects(rowless, UnavailableError) // nothing else would ever tell of it
    await proxy.accept()
    await until(async () => (await publisher.app.tasks.sendScheduled()).length > 0, 'the lease to pass, and the message to be sent')
    await using _worker = working(w.app, { sender: false })
    await ended(w, 'later')
    assert.deepEqual(ran, ['later'])
  })

  it('to a queue that was deleted meanwhile fails, leaves no FAILURE, and is sent once the queue is declared again', async () => {
    await using w = await openRabbitWorld({ lease: LEASE })
    const note = w.app.task('note', () => {})
    await note.applyAsync([], { taskId: 'before' })
    await w.rabbit.channel.deleteQueue(w.rabbit.queue('default'))
    await note.applyAsync([], { taskId: 'after' })
    assert.match(
      said(w.errors)[0] ?? '',
      /^RabbitMQ has no queue for the message of task after: it gave it back from the queue .* \(NO_ROUTE\)$/,
    )
    const { status, publishedAt } = await row(w, 'after')
    assert.deepEqual([status, publishedAt], ['PENDING', null])
    await until(async () => (await w.app.tasks.sendScheduled()).length > 0, 'the lease to pass, and the message to be sent')
    assert.ok((await row(w, 'after')).publishedAt)
    await using _worker = working(w.app, { sender: false })
    await ended(w, 'after')
  })

  it('to an exchange that was deleted meanwhile closes the channel, and keeps no other message back', async () => {
    await using rabbit = await openRabbit()
    const [exchange, queue] = [rabbit.queue('exchange'), rabbit.queue('default')]
    await rabbit.channel.assertExchange(exchange, 'fanout')
    await rabbit.channel.bindQueue((await rabbit.channel.assertQueue(queue)).queue, exchange, '')
    const broker = new RabbitBroker({ url: RABBITMQ, prefetchMultiplier: 4, queueArguments: {} }, () => {})
    try {
      await broker.publish([aMessage({ exchange }), aMessage({ queue, routingKey: queue })]) // what is declared is declared now
      await rabbit.channel.deleteExchange(exchange)
      const messages = [
        aMessage({ exchange }),
        ...Array.from({ length: 10 }, (_, i) => aMessage({ id: `other ${i}`, queue, routingKey: queue })),
      ]
      const [deleted, ...others] = await Promise.allSettled(messages.map((message) => broker.publish([message])))
      assert.match(String(deleted?.status === 'rejected' && deleted.reason), /RabbitMQ has no exchange \S+ that this user may use: /)
      assert.deepEqual(
        others.map(({ status }) => status),
        Array(10).fill('fulfilled'),
      )
    } finally {
      await broker.close()
    }
  })

  it('that the server refuses says so', async () => {
    await using w = await openRabbitWorld()
    await w.app.sendTask('note', [], { taskId: 'long', headers: { long: 'x'.repeat(70_000) } })
    assert.match(said(w.errors)[0] ?? '', /^the message of task long cannot be sent through RabbitMQ: .*exceeds the 65536 byte/)
    await w.app.sendTask('note', [], { taskId: 'short' })
    assert.ok((await row(w, 'short')).publishedAt)
  })
})

describe('a worker at RabbitMQ', () => {
  before(function () {
    return needs(this, 'RabbitMQ')
  })

  it('whose connection is cut goes on, and does not run twice what is running', async () => {
    const { proxy, url } = await openProxy()
    await using _proxy = proxy
    await using w = await openRabbitWorld({ lease: LEASE, broker: url })
    const door = gate()
    const ran: string[] = []
    w.app.task({ name: 'slow', bind: true, acksLate: true }, async (task) => {
      ran.push(task.request.id)
      await door.passed
    })
    w.app.task({ name: 'quick', bind: true }, (task) => {
      ran.push(task.request.id)
    })
    await using _worker = working(w.app)
    await w.app.sendTask('slow', [], { taskId: 'slow' })
    await until(() => ran.length === 1, 'the body to begin')
    proxy.cut()
    await until(() => said(w.errors).some((message) => / was lost: /.test(message)), 'the loss to be noticed')
    await w.app.sendTask('quick', [], { taskId: 'quick' })
    await ended(w, 'quick')
    door.open()
    await ended(w, 'slow')
    await empty(w)
    assert.deepEqual(ran, ['slow', 'quick'])
    assert.equal((await row(w, 'slow')).status, 'SUCCESS')
  })

  it('that gets a message whose worker has lost its connection keeps it, for that worker may still die', async () => {
    const { proxy, url } = await openProxy()
    await using _proxy = proxy
    await using w = await openRabbitWorld({ lease: LEASE })
    const first = await w.join({ broker: url, defaultQueue: w.rabbit.queue('default'), lease: LEASE })
    const ran: string[] = []
    for (const [name, { app }] of Object.entries({ first, second: w })) {
      app.task({ name: 'late', bind: true, acksLate: true }, async (task) => {
        ran.push(name)
        if (name === 'first') await new Promise((resolve) => task.signal.addEventListener('abort', resolve, { once: true }))
      })
    }
    const dying = working(first.app)
    await w.app.sendTask('late', [], { taskId: 'a' })
    await until(() => ran.length === 1, 'the first to run it')
    await proxy.refuse()
    await using _second = working(w.app)
    await empty(w) // the second has it
    await sleep(2000 * LEASE)
    assert.deepEqual(ran, ['first'])
    await dying[Symbol.asyncDispose]()
    await ended(w, 'a')
    assert.deepEqual(ran, ['first', 'second'])
  })

  it('on a connection that is frozen notices by the heartbeat, and finds another', async () => {
    const { proxy, url } = await openProxy('/%2F?heartbeat=1')
    await using _proxy = proxy
    await using w = await openRabbitWorld({ lease: LEASE })
    const worker = await w.join({ broker: url, defaultQueue: w.rabbit.queue('default'), lease: LEASE })
    worker.app.task('note', () => {})
    await using _worker = working(worker.app)
    await w.app.sendTask('note', [], { taskId: 'before' })
    await ended(w, 'before')
    proxy.freeze()
    await until(() => said(worker.errors).some((message) => /was lost: Heartbeat timeout/.test(message)), 'the heartbeat to be missed')
    proxy.thaw()
    await w.app.sendTask('note', [], { taskId: 'after' })
    await ended(w, 'after')
  })

  it('waits for a server that is away, and works once it is there', async () => {
    const { proxy, url } = await openProxy()
    await using _proxy = proxy
    await proxy.refuse()
    await using w = await openRabbitWorld({ lease: LEASE, broker: url })
    const note = w.app.task('note', () => {})
    await using _worker = working(w.app)
    await until(() => said(w.errors).some((message) => /cannot be reached: connect ECONNREFUSED/.test(message)), 'the worker to say so')
    await proxy.accept()
    await note.applyAsync([], { taskId: 'a' })
    await ended(w, 'a')
  })

  it('whose connection an operator closes opens another', async function () {
    this.timeout(60_000) // rabbitmqctl is slow to start
    await using w = await openRabbitWorld({ lease: LEASE })
    const note = w.app.task('note', () => {})
    await using _worker = working(w.app)
    await note.applyAsync([], { taskId: 'before' })
    await ended(w, 'before')
    await closeConnections(` consumes ${process.pid}@`)
    await until(() => said(w.errors).some((message) => /was lost: Connection closed: 320/.test(message)), 'the connection to be closed')
    await note.applyAsync([], { taskId: 'after' })
    await ended(w, 'after')
  })
})

/** As an operator does; only those with this in their name. */
async function closeConnections(name: string): Promise<void> {
  const rabbitmqctl = async (...args: string[]) => (await promisify(execFile)('rabbitmqctl', ['-q', ...args])).stdout
  const list = await rabbitmqctl('list_connections', 'pid', 'client_properties')
  const pids = list
    .split('\n')
    .filter((line) => line.includes(name))
    .map((line) => line.split('\t')[0] ?? '')
  assert.ok(pids.length > 0, 'our connection is among them')
  for (const pid of pids) await rabbitmqctl('close_connection', pid, 'closed by a test')
}
