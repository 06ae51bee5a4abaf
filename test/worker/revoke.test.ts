import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { Reject, TaskRevokedError } from '../../src/lib/task/ending.js'
import { alive } from '../helpers/alive.js'
import { itOnSqlBroker } from '../helpers/databases.js'
import { assertMessages } from '../helpers/messages.js'
import { runs, side } from '../helpers/side-effects.js'
import { until } from '../helpers/until.js'
import { gate, pooled, working } from '../helpers/working.js'
import { openWorld, type World } from '../helpers/world.js'

const SOON = { timeout: 15 } as const
const UNTHROWN = { timeout: 15, propagate: false } as const
const HOUR = 3_600_000

const rowOf = async (w: World, id: string) => (await w.app.tasks.get(id)) ?? assert.fail(`no row for ${id}`)
const linesOf = async (w: World, id: string) => ((await w.app.tasks.history(id))?.attempts ?? []).map(({ kind }) => kind)
/** The messages that are left of a task which is revoked before its message was acked: RabbitMQ keeps it, and whoever gets it lets it go. */
const keptFor = ({ carrier }: World, unacked: boolean): number => (carrier && unacked ? 1 : 0)
const done = (taskId: string, task: string) => ({ taskId, task, revoked: true, error: null })

describe('a task that is revoked while no worker is there', () => {
  it('is REVOKED at once, and never starts: queued', async () => {
    await using w = await openWorld()
    const started: unknown[] = []
    const task = w.app.task('count', (n: number) => started.push(n))
    const [first, second] = [await task.delay(1), await task.delay(2)]
    assert.deepEqual(await first.revoke(), done(first.id, 'count'))
    const { status, errorType, errorMessage, finishedAt, resultExpiresAt } = await rowOf(w, first.id)
    assert.deepEqual([status, errorType, errorMessage, finishedAt], ['REVOKED', 'TaskRevokedError', 'revoked', new Date(w.clock.now())])
    assert.deepEqual(resultExpiresAt, new Date(w.clock.now() + 86_400_000))
    assert.equal(String(await first.get(UNTHROWN)), 'TaskRevokedError: revoked')
    await assertMessages(w, 1 + keptFor(w, true))

    await using _ = working(w.app, { concurrency: 1 })
    await second.get(SOON)
    assert.deepEqual(started, [2])
    assert.equal(await first.state(), 'REVOKED')
  })

  for (const [what, remove] of [
    ['purged', (w: World) => w.app.tasks.purge({})],
    ['forgotten', (w: World, id: string) => w.app.result(id).forget()],
  ] as const) {
    // RabbitMQ keeps its message, of which nothing says any more that it was revoked
    itOnSqlBroker(`never starts, also when its record is ${what} before a worker looks`, async () => {
      await using w = await openWorld()
      const started: unknown[] = []
      const task = w.app.task('count', (n: number) => started.push(n))
      const [first, second] = [await task.delay(1), await task.delay(2)]
      await first.revoke()
      await remove(w, first.id)
      assert.equal(await first.exists(), false)
      await using _ = working(w.app, { concurrency: 1 })
      await second.get(SOON)
      assert.deepEqual(started, [2])
      assert.equal(await first.exists(), false)
    })
  }

  it('is never sent: scheduled', async () => {
    await using w = await openWorld()
    const task = w.app.task('count', () => 1)
    const result = await task.applyAsync([], { countdown: 60 })
    assert.equal((await result.revoke()).revoked, true)
    w.clock.advance(HOUR)
    assert.deepEqual(await w.app.tasks.sendScheduled(), [])
    assert.equal(await result.state(), 'REVOKED')
    assert.equal(await w.app.tasks.count(), 1)
  })

  it('is never run again: waiting for a retry', async () => {
    await using w = await openWorld()
    let runs = 0
    const task = w.app.task({ name: 'again', bind: true }, ({ retry }) => {
      runs += 1
      retry({ countdown: 60 })
    })
    const result = await task.delay()
    {
      await using _ = working(w.app)
      await until(async () => (await result.state()) === 'RETRY', 'the retry')
    }
    assert.equal((await result.revoke()).revoked, true)
    w.clock.advance(HOUR)
    assert.deepEqual(await w.app.tasks.sendScheduled(), [])
    await using _ = working(w.app)
    await (await w.app.task('other', () => 1).delay()).get(SOON)
    assert.deepEqual([runs, await result.state()], [1, 'REVOKED'])
  })

  it('is not run again by its late-ack message: its worker was lost', async () => {
    await using w = await openWorld()
    let runs = 0
    const task = w.app.task({ name: 'late', acksLate: true }, () => {
      runs += 1
      return new Promise(() => {})
    })
    const result = await task.delay()
    await using _silent = working(w.app, { concurrency: 1 })
    await until(() => runs === 1, 'the task to run')
    w.clock.advance(30_001)
    assert.equal((await result.revoke()).revoked, true)
    await assertMessages(w, keptFor(w, true))
    await using _ = working(w.app)
    await (await w.app.task('other', () => 1).delay()).get(SOON)
    assert.equal(runs, 1)
  })

  it('when it was sent in place of a scheduled one is the one that was sent', async () => {
    await using w = await openWorld()
    const result = await w.app.task('count', () => 1).applyAsync([], { countdown: 60 })
    w.clock.advance(61_000)
    const [sent] = await w.app.tasks.sendScheduled()
    const newId = sent?.newTaskId ?? assert.fail('nothing was sent')
    assert.deepEqual(await result.revoke(), done(newId, 'count'))
    assert.deepEqual([await result.state(), (await rowOf(w, result.id)).status], ['REVOKED', 'SCHEDULED_SENT'])
  })
})

describe('a revoke of a task that', () => {
  it('runs leaves it alone and says who runs it', async () => {
    await using w = await openWorld()
    const door = gate()
    const task = w.app.task('wait', async () => {
      await door.passed
      return 'done'
    })
    await using here = working(w.app)
    const result = await task.delay()
    await until(async () => (await result.state()) === 'STARTED', 'the task to start')
    const before = await rowOf(w, result.id)
    const error = `worker ${here.worker.workerId} is running it; --terminate stops it`
    assert.deepEqual(await result.revoke(), { taskId: result.id, task: 'wait', revoked: false, error })
    assert.deepEqual(await rowOf(w, result.id), before)
    door.open()
    assert.equal(await result.get(SOON), 'done')
  })

  for (const [ending, body, status] of [
    ['succeeded', () => Promise.resolve(1), 'SUCCESS'],
    ['failed', () => Promise.reject(new Error('boom')), 'FAILURE'],
  ] as const) {
    it(`has ${ending} leaves it alone and says so, also with terminate`, async () => {
      await using w = await openWorld()
      const task = w.app.task('over', (): Promise<number> => body())
      await using _ = working(w.app)
      const result = await task.delay()
      await result.get(UNTHROWN)
      const before = await rowOf(w, result.id)
      for (const terminate of [false, true]) {
        assert.deepEqual(await result.revoke({ terminate }), {
          taskId: result.id,
          task: 'over',
          revoked: false,
          error: `it has ended ${status}`,
        })
      }
      assert.deepEqual(await rowOf(w, result.id), before)
    })
  }

  it('does not exist makes no row', async () => {
    await using w = await openWorld()
    const answer = { taskId: 'nobody', task: null, revoked: false, error: 'there is no task of this id' }
    assert.deepEqual(await w.app.result('nobody').revoke({ terminate: true }), answer)
    assert.equal(await w.app.tasks.count(), 0)
  })
})

describe('a running task that is revoked with terminate', () => {
  for (const acksLate of [false, true]) {
    it(`in the async pool is REVOKED at once, and its signal is aborted (acked ${acksLate ? 'late' : 'early'})`, async () => {
      await using w = await openWorld()
      const told: string[] = []
      for (const kind of ['revoked', 'failed', 'succeeded'] as const) w.app.on(kind, () => told.push(kind))
      let reason: unknown
      const task = w.app.task({ name: 'wait', bind: true, acksLate, autoretryFor: [Error] }, async ({ signal }) => {
        try {
          await sleep(60_000, undefined, { signal })
        } finally {
          reason = signal.reason
        }
      })
      await using here = working(w.app, { concurrency: 1 })
      const result = await task.delay()
      await until(async () => (await result.state()) === 'STARTED', 'the task to start')
      assert.deepEqual(await result.revoke({ terminate: true }), done(result.id, 'wait'))
      await assertMessages(w, keptFor(w, acksLate))
      assert.equal(String(await result.get(UNTHROWN)), 'TaskRevokedError: terminated')
      await until(() => reason, 'the body to be told')
      assert.ok(reason instanceof TaskRevokedError)
      assert.equal(await (await w.app.task('next', () => 'next').delay()).get(SOON), 'next')
      here.worker.stop()
      await here.ended
      assert.deepEqual([await result.state(), await linesOf(w, result.id)], ['REVOKED', []])
      assert.deepEqual(told, ['revoked', 'succeeded'])
    })
  }

  for (const [answer, acksLate] of [
    ['a result', false],
    ['a result', true],
    ['a Reject with requeue', true],
  ] as const) {
    it(`in the async pool stays REVOKED when its body does not listen; ${answer} comes late (acked ${acksLate ? 'late' : 'early'})`, async () => {
      await using w = await openWorld()
      const told: string[] = []
      for (const kind of ['requeued', 'succeeded'] as const) w.app.on(kind, () => told.push(kind))
      const door = gate()
      const task = w.app.task({ name: 'deaf', acksLate }, async () => {
        await door.passed
        if (answer === 'a result') return 'done'
        throw new Reject('not now', { requeue: true })
      })
      await using here = working(w.app)
      const result = await task.delay()
      await until(async () => (await result.state()) === 'STARTED', 'the task to start')
      await result.revoke({ terminate: true })
      const before = await rowOf(w, result.id)
      door.open()
      await until(async () => (await linesOf(w, result.id)).length > 0, 'the late answer')
      here.worker.stop()
      await here.ended
      assert.deepEqual(await rowOf(w, result.id), before)
      assert.deepEqual(await linesOf(w, result.id), ['late-result'])
      await assertMessages(w, keptFor(w, acksLate))
      assert.deepEqual([told, w.errors], [[], []])
    })
  }

  it('leaves its worker nothing to give back when that is stopped now (acked late)', async () => {
    await using w = await openWorld()
    const task = w.app.task({ name: 'deaf', acksLate: true }, () => new Promise(() => {}))
    await using here = working(w.app)
    const result = await task.delay()
    await until(async () => (await result.state()) === 'STARTED', 'the task to start')
    await result.revoke({ terminate: true })
    const before = await rowOf(w, result.id)
    here.worker.stop({ now: true })
    await here.ended
    assert.deepEqual(await rowOf(w, result.id), before)
    await assertMessages(w, keptFor(w, true))
    assert.deepEqual(w.errors, [])
  })

  it('in the process pool has its process killed and replaced when its body does not listen', async () => {
    await using w = await openWorld({ now: Date.now })
    await using _ = await pooled(w.app)
    const result = await w.app.sendTask('stubborn', [side(w)])
    const { number: pid } = await until(() => runs(w)[0], 'the body to run')
    await result.revoke({ terminate: true })
    await until(() => !alive(pid), 'its process to end')
    assert.notEqual(await (await w.app.sendTask('pid')).get(SOON), pid)
    assert.deepEqual([await result.state(), await linesOf(w, result.id)], ['REVOKED', []])
  })

  it('in the process pool keeps its process when its body listens', async () => {
    await using w = await openWorld({ now: Date.now })
    await using _ = await pooled(w.app)
    const pid = await (await w.app.sendTask('pid')).get(SOON)
    const result = await w.app.sendTask('wait')
    await until(async () => (await result.state()) === 'STARTED', 'the task to start')
    await result.revoke({ terminate: true })
    assert.equal(await (await w.app.sendTask('pid')).get(SOON), pid)
    assert.deepEqual([await result.state(), await linesOf(w, result.id)], ['REVOKED', []])
  })

  it('is stopped also when it has a status of its own', async () => {
    await using w = await openWorld()
    const task = w.app.task({ name: 'steps', bind: true }, async ({ update, signal }) => {
      await update({ state: 'PROGRESS' })
      await sleep(60_000, undefined, { signal })
    })
    await using _ = working(w.app, { concurrency: 1 })
    const result = await task.delay()
    await until(async () => (await result.state()) === 'PROGRESS', 'the update')
    assert.equal((await result.revoke({ terminate: true })).revoked, true)
    await (await w.app.task('next', () => 1).delay()).get(SOON)
    assert.equal(await result.state(), 'REVOKED')
  })
})
