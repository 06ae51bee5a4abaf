import assert from 'node:assert/strict'
import { claimDue } from '../../../src/lib/ledger/due.js'
import { findTask } from '../../../src/lib/ledger/find.js'
import { openProxy, openRabbitWorld } from '../../helpers/rabbitmq.js'
import { needs } from '../../helpers/services.js'
import { until } from '../../helpers/until.js'
import { working } from '../../helpers/working.js'
import type { Member } from '../../helpers/world.js'

/** Seconds. Longer than any of these tests: what happens sooner was asked for. */
const LEASE = 300

/** A program whose sender reaches the server through a proxy, and one at the server itself; both on one ledger. */
async function openSender() {
  const { proxy, url } = await openProxy()
  const w = await openRabbitWorld({ lease: LEASE })
  const joinFar = () => w.join({ broker: url, defaultQueue: w.rabbit.queue('default'), lease: LEASE })
  const far = await joinFar()
  const ran: string[] = []
  w.app.task({ name: 'note', bind: true }, (task) => {
    ran.push(task.request.id)
  })
  const rowOf = async (taskId: string) => (await findTask(w.database, taskId)) ?? assert.fail(`no row ${taskId}`)
  return {
    ...w,
    proxy,
    far,
    joinFar,
    ran,
    rowOf,
    /** A task whose eta has passed. */
    async schedule() {
      const { id } = await w.app.sendTask('note', [], { countdown: 0.05 })
      const { eta } = await rowOf(id)
      await until(() => Date.now() > (eta?.getTime() ?? 0), 'the eta')
      return id
    },
    /** What `send-scheduled --resume` sends. */
    resume: async () => (await w.app.tasks.sendScheduled(undefined, undefined, 0)).map(({ newTaskId }) => newTaskId),
    arrived: (count: number) => until(async () => (await w.rabbit.count('default'))?.ready === count, `${count} messages`),
    /** The ids that whoever takes the messages reads on them. */
    async idsTaken(count: number) {
      const ids: unknown[] = []
      for (let i = 0; i < count; i++) {
        const message = await w.rabbit.channel.get(w.rabbit.queue('default'), { noAck: true })
        ids.push(message ? message.properties.headers?.['id'] : null)
      }
      return ids
    },
    async runs(taskId: string) {
      await using _worker = working(w.app)
      await until(async () => (await rowOf(taskId)).finishedAt, `${taskId} to end`)
      await until(async () => (await w.rabbit.count('default'))?.ready === 0, 'the queue to be empty')
    },
    async [Symbol.asyncDispose]() {
      await w[Symbol.asyncDispose]()
      await proxy[Symbol.asyncDispose]()
    },
  }
}

/** A sender that runs until the end of the test. */
function running({ sender }: Member): AsyncDisposable {
  const over = new AbortController()
  const ended = sender.run(over.signal)
  return {
    async [Symbol.asyncDispose]() {
      over.abort()
      await ended
    },
  }
}

const found = (member: Member, what: RegExp) => member.errors.filter((error) => what.test((error as Error).message)).length

/** Sends what is due, and loses the server's confirm on the way. */
async function sendUnconfirmed(s: Awaited<ReturnType<typeof openSender>>): Promise<void> {
  await s.far.app.sendTask('note', [], { taskId: 'before' }) // what is declared is declared now
  s.proxy.silence('server')
  const sending = s.far.app.tasks.sendScheduled()
  await s.arrived(2)
  s.proxy.cut()
  s.proxy.thaw()
  await sending
}

describe('a sender at RabbitMQ', () => {
  before(function () {
    return needs(this, 'RabbitMQ')
  })

  it('whose confirm is lost leaves a task that is resumed under the same id: its message comes twice, and runs once', async () => {
    await using s = await openSender()
    const id = await s.schedule()
    await sendUnconfirmed(s)
    const { status, scheduledId } = await s.rowOf(id)
    assert.ok(scheduledId)
    assert.deepEqual([status, (await s.rowOf(scheduledId)).publishedAt], ['SCHEDULED_SENT', null])
    assert.deepEqual(await s.app.tasks.sendScheduled(), [], 'the lease has not passed')
    assert.deepEqual(
      (await s.app.tasks.findStale({ reasons: ['unpublished'] })).map(({ taskId }) => taskId),
      [scheduledId],
    )
    assert.deepEqual(await s.resume(), [scheduledId])
    await s.arrived(3)
    await s.runs(scheduledId)
    assert.deepEqual(s.ran.sort(), ['before', scheduledId].sort())
  })

  it('sends such a message twice to a worker that keeps no rows, as Celery, each time under the one id', async () => {
    await using s = await openSender()
    const id = await s.schedule()
    await sendUnconfirmed(s)
    const { scheduledId } = await s.rowOf(id)
    assert.deepEqual(await s.resume(), [scheduledId])
    assert.deepEqual(await s.idsTaken(3), ['before', scheduledId, scheduledId])
  })

  it('publishes in the order of the etas', async () => {
    await using s = await openSender()
    const scheduled = await Promise.all(Array.from({ length: 150 }, () => s.app.sendTask('note', [], { countdown: 3600 })))
    await s.database.run('UPDATE task_result SET eta = ? - id', [Date.now()]) // the last is to be the first
    const sent = await s.far.app.tasks.sendScheduled()
    assert.deepEqual(
      sent.map(({ taskId }) => taskId),
      scheduled.map(({ id }) => id).reverse(),
    )
    assert.deepEqual(
      await s.idsTaken(150),
      sent.map(({ newTaskId }) => newTaskId),
    )
  })

  it('whose message was confirmed leaves nothing to resume', async () => {
    await using s = await openSender()
    const id = await s.schedule()
    assert.equal((await s.app.tasks.sendScheduled()).length, 1)
    assert.deepEqual(await s.resume(), [])
    const { scheduledId } = await s.rowOf(id)
    assert.deepEqual(await s.idsTaken(2), [scheduledId, null])
  })

  it('that found no server leaves a task that is resumed under the same id, and comes once', async () => {
    await using s = await openSender()
    const id = await s.schedule()
    await s.proxy.refuse()
    assert.equal((await s.far.app.tasks.sendScheduled()).length, 1)
    const { status, scheduledId } = await s.rowOf(id)
    assert.deepEqual([status, await s.resume()], ['SCHEDULED_SENT', [scheduledId]])
    assert.deepEqual(await s.idsTaken(2), [scheduledId, null])
  })

  it('that died between its claim and its send leaves a claim that is resumed under its id', async () => {
    await using s = await openSender()
    const id = await s.schedule()
    await s.database.write((sql) => claimDue(sql, ['chosen'], Date.now(), Date.now()))
    assert.deepEqual(await s.app.tasks.sendScheduled(), [], 'the lease has not passed')
    assert.deepEqual(await s.resume(), ['chosen'])
    await s.runs('chosen')
    assert.deepEqual([(await s.rowOf(id)).status, s.ran], ['SCHEDULED_SENT', ['chosen']])
  })

  it('that runs sends all that was published while the server was away, each once however many senders there are', async () => {
    await using s = await openSender()
    const senders = [await s.joinFar(), await s.joinFar()] as const
    await s.proxy.refuse()
    const published = await Promise.all(Array.from({ length: 1000 }, () => s.far.app.sendTask('note')))
    const ids = published.map(({ id }) => id)
    await s.database.run('UPDATE task_result SET updated_at = ?', [Date.now() - 1000 * LEASE])
    await using _one = running(senders[0])
    await using _two = running(senders[1])
    await until(() => senders.every((sender) => found(sender, /cannot be reached/) > 1), 'the senders to try in vain, and again')
    const tries = 'SELECT 1 FROM task_attempt UNION ALL SELECT 1 FROM task_result WHERE error_type IS NOT NULL'
    assert.deepEqual(await s.database.all(tries, []), [], 'nothing is written of it')
    await s.proxy.accept()
    const waiting = 'SELECT count(*) AS n FROM task_result WHERE published_at IS NULL'
    await until(async () => (await s.database.all<{ n: number }>(waiting, []))[0]?.n === 0, 'all to be published')
    assert.deepEqual((await s.idsTaken(1001)).sort(), [...ids.sort(), null])
  })

  it('that runs sends what was due while the server was away once it is back, and waits for no lease', async () => {
    await using s = await openSender()
    const scheduled = await Promise.all(Array.from({ length: 250 }, () => s.app.sendTask('note', [], { countdown: 3600 })))
    await s.database.run('UPDATE task_result SET eta = ?', [Date.now() - 1])
    await s.proxy.refuse()
    await using _ = running(s.far)
    await until(() => found(s.far, /cannot be reached/) > 1, 'the sender to try in vain, and again')
    assert.equal(await s.app.tasks.count({ statuses: ['SCHEDULED_SENT'] }), 100, 'no more than one batch is taken')
    await s.proxy.accept()
    await s.arrived(250)
    const sent = await Promise.all(scheduled.map(async ({ id }) => (await s.rowOf(id)).scheduledId))
    assert.deepEqual((await s.idsTaken(251)).sort(), [...sent.sort(), null])
  })

  it('that is called says of each task it tried that the server is away, and has it sent at once when it is back', async () => {
    await using s = await openSender()
    await s.proxy.refuse()
    const { id } = await s.far.app.sendTask('note')
    const [failed, ...more] = await s.far.app.tasks.sendScheduled(undefined, undefined, 0)
    assert.deepEqual([failed?.taskId, failed?.outcome, more], [id, 'failed', []])
    assert.match(failed?.error ?? '', /^RabbitMQ at \S+ cannot be reached: connect ECONNREFUSED/)
    assert.deepEqual((await s.app.tasks.history(id))?.attempts, [])
    await s.proxy.accept()
    assert.deepEqual(await s.resume(), [id])
  })
})
