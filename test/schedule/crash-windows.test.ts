import assert from 'node:assert/strict'
import { defineTask } from '../../src/lib/app/task.js'
import { messageFor, type PublishOptions } from '../../src/lib/publish/request.js'
import type { TaskContext, TaskDefinition } from '../../src/lib/task/definition.js'
import { SETTABLE_DEFAULTS } from '../../src/lib/task/options.js'
import type { Worker } from '../../src/lib/worker/worker.js'
import { OUTSIDE_LEASE_MS, type Outside, openOutside } from '../helpers/outside.js'
import { Processes } from '../helpers/processes.js'
import { until } from '../helpers/until.js'
import { openWorld, type World } from '../helpers/world.js'

const ROUTING = { defaultQueue: 'default', routes: {} }

const messagesUrl = (w: World) => w.carrier?.url ?? `sqlite:${w.folder}/messages.db`

/** Whether a message of this task waits. */
const isWaiting = async ({ carrier }: World, { broker }: Outside, id: string): Promise<boolean> =>
  carrier ? (await carrier.look('default')).includes(id) : (await broker.has(id)) === true

interface Execution {
  readonly id: string
  readonly at: number
  readonly retries: number
}

/** Runs the tasks `note` and `once more` until they are awaited to have ended. */
class Notes implements AsyncDisposable {
  readonly executions: Execution[] = []
  private readonly worker: Worker
  private readonly ended: Promise<void>

  constructor(outside: Outside, retryAfterSeconds: number) {
    const note = ({ request: { id, retries } }: TaskContext) => this.executions.push({ id, at: Date.now(), retries })
    const onceMore = (task: TaskContext) => {
      note(task)
      if (task.request.retries === 0) task.retry({ countdown: retryAfterSeconds })
    }
    const tasks = new Map<string, TaskDefinition>([
      ['note', defineTask({ name: 'note', bind: true }, note, SETTABLE_DEFAULTS)],
      ['once more', defineTask({ name: 'once more', bind: true }, onceMore, SETTABLE_DEFAULTS)],
    ])
    this.worker = outside.worker(tasks)
    this.ended = this.worker.run()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.worker.stopNow()
    await this.ended
  }
}

/** Publishes one task and has a program come to a halt over it, at the point where it is then killed. */
async function killAt(w: World, work: 'send' | 'publish', point: string): Promise<void> {
  await using processes = new Processes()
  const program = processes.fixture('outside.ts', [w.url, messagesUrl(w), work, point])
  await program.said(point)
  await program.kill()
}

async function schedule(outside: Outside, options: PublishOptions = {}): Promise<{ id: string; eta: number }> {
  const eta = Date.now() + 200
  const message = messageFor('note', [], { ...options, eta: new Date(eta) }, {}, ROUTING, null, Date.now())
  await outside.publisher.publish(message)
  return { id: message.id, eta }
}

/** One pass after another, until every lease has run out and nothing is left to send. */
async function sendUntil(outside: Outside, sent: () => Promise<boolean>): Promise<void> {
  await until(async () => {
    await outside.sender.sendDue()
    return sent()
  }, 'the task to be sent')
  await new Promise((resolve) => setTimeout(resolve, OUTSIDE_LEASE_MS + 1)) // a second message would be sent now
  await outside.sender.sendDue()
}

describe('a scheduled task on an outside broker', () => {
  for (const [point, left] of [
    ['claimed', { scheduled: ['claimed'], tasks: [] }],
    ['recorded', { scheduled: [], tasks: ['unpublished'] }],
    ['published', { scheduled: [], tasks: ['unpublished'] }],
  ] as const) {
    it(`whose sender is killed once it is ${point} is found, and runs exactly once after the next pass`, async () => {
      await using w = await openWorld({ now: Date.now, settings: { lease: OUTSIDE_LEASE_MS / 1000 } })
      await using outside = await openOutside(w.url, messagesUrl(w))
      const { id, eta } = await schedule(outside)
      await killAt(w, 'send', point)

      const newId = (await w.app.tasks.get(id))?.scheduledId ?? assert.fail('no claim')
      const scheduled = await w.app.tasks.findStaleScheduled()
      assert.deepEqual(
        scheduled.map(({ taskId, reason }) => [taskId, reason]),
        left.scheduled.map((reason) => [id, reason]),
      )
      const tasks = await w.app.tasks.findStale()
      assert.deepEqual(
        tasks.map(({ taskId, reason }) => [taskId, reason]),
        left.tasks.map((reason) => [newId, reason]),
      )
      assert.equal(await isWaiting(w, outside, newId), point === 'published')

      await sendUntil(outside, async () => (await w.app.tasks.get(newId))?.publishedAt !== null)
      await using notes = new Notes(outside, 0)
      await until(async () => (await w.app.tasks.get(newId))?.status === 'SUCCESS' && !(await isWaiting(w, outside, newId)), 'it to run')
      assert.deepEqual(
        notes.executions.map((execution) => execution.id),
        [newId],
      )
      assert.ok((notes.executions[0]?.at ?? 0) > eta)
      assert.deepEqual([await w.app.tasks.findStale(), await w.app.tasks.findStaleScheduled()], [[], []])
      assert.equal((await w.app.tasks.get(id))?.status, 'SCHEDULED_SENT')
      assert.equal(await w.app.tasks.count(), 2)
    })
  }

  it('whose result is ignored and whose sender is killed before the broker has it runs once, and leaves no row', async () => {
    await using w = await openWorld({ now: Date.now })
    await using outside = await openOutside(w.url, messagesUrl(w))
    const { id } = await schedule(outside, { ignoreResult: true })
    await killAt(w, 'send', 'recorded')
    const newId = (await w.app.tasks.get(id))?.scheduledId ?? assert.fail('no claim')
    assert.deepEqual(
      (await w.app.tasks.findStale()).map(({ taskId, reason }) => [taskId, reason]),
      [[newId, 'unpublished']],
    )
    await sendUntil(outside, () => isWaiting(w, outside, newId))
    await using notes = new Notes(outside, 0)
    await until(async () => (await w.app.tasks.get(newId)) === null && !(await isWaiting(w, outside, newId)), 'it to run')
    assert.deepEqual(
      notes.executions.map((execution) => execution.id),
      [newId],
    )
  })

  it('whose claim is released while its sender is slow is sent under the new claim only', async () => {
    await using w = await openWorld({ now: Date.now })
    await using outside = await openOutside(w.url, messagesUrl(w))
    const { id, eta } = await schedule(outside)
    await until(() => Date.now() > eta, 'the eta')
    const write = outside.database.write.bind(outside.database)
    let writes = 0
    // the sender's claim commits; before it goes on, an operator releases the claim, and another sender takes the row
    outside.database.write = async (commit) => {
      if (++writes === 3) {
        assert.equal(await w.app.tasks.releaseScheduled([id]), 1)
        assert.equal((await w.app.tasks.sendScheduled()).length, 1)
      }
      return write(commit)
    }
    assert.deepEqual(await outside.sender.sendDue(), [])
    const newId = (await w.app.tasks.get(id))?.scheduledId ?? ''
    assert.equal((await w.app.tasks.get(newId))?.status, 'PENDING')
    // where both senders have one broker, it has the message of the other
    if (w.carrier) assert.deepEqual(await w.carrier.look('default'), [newId])
    else assert.deepEqual(await outside.broker.receive(['default'], 10, 1000), [])
    assert.equal(await w.app.tasks.count(), 2)
  })
})

describe('a retry on an outside broker', () => {
  for (const point of ['recorded', 'published']) {
    it(`whose sender is killed with its message ${point} is found overdue, and runs exactly once after the next pass`, async () => {
      await using w = await openWorld({ now: Date.now })
      await using outside = await openOutside(w.url, messagesUrl(w))
      const { id } = messageFor('once more', [], {}, {}, ROUTING, null, Date.now())
      await outside.publisher.publish(messageFor('once more', [], { taskId: id }, {}, ROUTING, null, Date.now()))
      await using notes = new Notes(outside, 0.2)
      const eta = await until(async () => (await w.app.tasks.list({ ids: [id], statuses: ['RETRY'] }))[0]?.eta, 'the retry to wait')
      await notes[Symbol.asyncDispose]()
      await killAt(w, 'send', point)

      assert.deepEqual(
        (await w.app.tasks.findStale()).map(({ taskId, reason }) => [taskId, reason]),
        [[id, 'overdue']],
      )
      await sendUntil(outside, async () => (await w.app.tasks.get(id))?.publishedAt !== null)
      await using more = new Notes(outside, 0.2)
      await until(async () => (await w.app.tasks.get(id))?.status === 'SUCCESS' && !(await isWaiting(w, outside, id)), 'it to run')
      assert.deepEqual(
        more.executions.map(({ retries }) => retries),
        [1],
      )
      assert.ok((more.executions[0]?.at ?? 0) > eta.getTime())
      assert.deepEqual(await w.app.tasks.findStale(), [])
    })
  }
})

describe('a task on an outside broker', () => {
  for (const point of ['recorded', 'published']) {
    it(`whose publisher is killed once it is ${point} is found unpublished, and runs exactly once after the next pass`, async () => {
      await using w = await openWorld({ now: Date.now })
      await using outside = await openOutside(w.url, messagesUrl(w))
      await killAt(w, 'publish', point)
      const [{ taskId: id, reason } = assert.fail('nothing is stale')] = await w.app.tasks.findStale()
      assert.equal(reason, 'unpublished')

      await sendUntil(outside, async () => (await w.app.tasks.get(id))?.publishedAt !== null)
      await using notes = new Notes(outside, 0)
      await until(async () => (await w.app.tasks.get(id))?.status === 'SUCCESS' && !(await isWaiting(w, outside, id)), 'it to run')
      assert.deepEqual(
        notes.executions.map((execution) => execution.id),
        [id],
      )
    })
  }

  it('whose broker is away is accepted, found unpublished, and sent once the broker is back', async () => {
    let away = false
    await using w = await openWorld({ now: Date.now })
    await using outside = await openOutside(w.url, messagesUrl(w), (broker) => ({
      publish: (messages) => (away ? Promise.reject(new Error('the broker is away')) : broker.publish(messages)),
    }))
    const message = messageFor('note', [], {}, {}, ROUTING, null, Date.now())
    away = true
    await outside.publisher.publish(message)
    assert.deepEqual(outside.errors.map(String), ['Error: the broker is away'])
    const stale = async () => (await w.app.tasks.findStale()).map(({ taskId, reason }) => [taskId, reason])
    assert.deepEqual(await stale(), [[message.id, 'unpublished']])

    const [failed] = await until(async () => {
      const sent = await outside.sender.sendDue()
      return sent.length > 0 && sent
    }, 'the lease to run out')
    assert.deepEqual([failed?.taskId, failed?.outcome, failed?.error], [message.id, 'failed', 'the broker is away'])
    assert.deepEqual(await stale(), [[message.id, 'unpublished']])
    const { row, attempts } = (await w.app.tasks.history(message.id)) ?? assert.fail('no row')
    assert.deepEqual([row.status, row.errorMessage], ['PENDING', 'the broker is away'])
    assert.deepEqual(
      attempts.map(({ kind }) => kind),
      ['send-failed'],
    )

    away = false
    await until(async () => (await outside.sender.sendDue())[0]?.outcome === 'sent', 'it to be sent')
    await using _ = new Notes(outside, 0)
    await until(async () => (await w.app.tasks.get(message.id))?.status === 'SUCCESS', 'it to run')
    const { errorMessage, traceback } = (await w.app.tasks.get(message.id)) ?? assert.fail('no row')
    assert.deepEqual([errorMessage, traceback], [null, null])
  })
})
