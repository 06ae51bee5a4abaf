import assert from 'node:assert/strict'
import { Ignore, Reject } from '../../src/lib/task/ending.js'
import { assertMessages } from '../helpers/messages.js'
import { until } from '../helpers/until.js'
import { gate, working } from '../helpers/working.js'
import { openWorld, type World } from '../helpers/world.js'

const LEASE_MS = 30_000
const SOON = { timeout: 10 } as const
const UNTHROWN = { timeout: 10, propagate: false } as const

const rowOf = async (w: World, id: string) => (await w.app.tasks.get(id)) ?? assert.fail(`no row for ${id}`)
const linesOf = async (w: World, id: string) =>
  ((await w.app.tasks.history(id))?.attempts ?? []).map(({ kind, errorType, errorMessage }) => [kind, errorType, errorMessage])
const staleOf = async (w: World) => (await w.app.tasks.findStale()).map(({ taskId, reason }) => [taskId, reason])

describe('a task that throws Ignore', () => {
  for (const acksLate of [false, true]) {
    it(`ends IGNORED, without a result, an error or a line of history (acked ${acksLate ? 'late' : 'early'})`, async () => {
      await using w = await openWorld()
      const told: string[] = []
      w.app.on('ignored', ({ task }) => told.push(task))
      const task = w.app.task({ name: 'skip', acksLate }, () => {
        throw new Ignore('nothing to do')
      })
      await using here = working(w.app)
      const result = await task.delay()
      assert.equal(await result.get(SOON), null)
      const { status, errorType, finishedAt, leaseUntil } = await rowOf(w, result.id)
      assert.deepEqual([status, errorType, finishedAt, leaseUntil], ['IGNORED', null, new Date(w.clock.now()), null])
      assert.deepEqual(await linesOf(w, result.id), [])
      await assertMessages(w, 0)
      here.worker.stop()
      await here.ended
      assert.deepEqual(told, ['skip'])
    })
  }
})

describe('a task that throws Reject', () => {
  for (const acksLate of [false, true]) {
    const mode = acksLate ? 'late' : 'early'

    it(`ends FAILURE Reject, is not run again, and autoretryFor does not catch it (acked ${mode})`, async () => {
      await using w = await openWorld()
      let runs = 0
      const task = w.app.task({ name: 'no', acksLate, autoretryFor: [Error] }, () => {
        runs += 1
        throw new Reject('not for me')
      })
      await using _ = working(w.app)
      const result = await task.delay()
      assert.equal(String(await result.get(UNTHROWN)), 'Reject: not for me')
      assert.equal(await result.state(), 'FAILURE')
      assert.deepEqual(await linesOf(w, result.id), [['rejected', 'Reject', 'not for me']])
      await assertMessages(w, 0)
      assert.equal(runs, 1)
    })

    for (const ignoreResult of [false, true]) {
      it(`with requeue runs again, as the same retry of the same task (acked ${mode}${ignoreResult ? ', result ignored' : ''})`, async () => {
        await using w = await openWorld({ now: Date.now })
        const seen: number[] = []
        const task = w.app.task({ name: 'later', bind: true, acksLate, ignoreResult }, ({ request }, x: number) => {
          seen.push(request.retries)
          if (seen.length < 3) throw new Reject('not now', { requeue: true })
          return x
        })
        const result = await task.delay(7)
        {
          await using here = working(w.app)
          await until(() => seen.length === 3, 'the third run')
          here.worker.stop()
          await here.ended
        }
        assert.deepEqual(seen, [0, 0, 0])
        await assertMessages(w, 0)
        if (ignoreResult) {
          assert.equal(await w.app.tasks.get(result.id), null)
          assert.deepEqual(await w.database.all('SELECT * FROM task_attempt', []), [])
        } else {
          assert.equal(await result.get(SOON), 7)
          const line = ['rejected', 'Reject', 'not now']
          assert.deepEqual(await linesOf(w, result.id), [line, line])
        }
      })
    }
  }

  for (const acksLate of [false, true]) {
    it(`with requeue each time is run maxDeliveries times and then fails, and says how often (acked ${acksLate ? 'late' : 'early'})`, async () => {
      await using w = await openWorld({ now: Date.now, settings: { maxDeliveries: 3 } })
      const told: string[] = []
      for (const kind of ['requeued', 'failed'] as const) w.app.on(kind, () => told.push(kind))
      let runs = 0
      const task = w.app.task({ name: 'never', acksLate }, () => {
        runs += 1
        throw new Reject('not now', { requeue: true })
      })
      await using here = working(w.app)
      const result = await task.delay()
      assert.equal(String(await result.get(UNTHROWN)), 'Reject: not now (rejected 3 times)')
      here.worker.stop()
      await here.ended
      assert.equal(await result.state(), 'FAILURE')
      assert.equal(runs, 3)
      await assertMessages(w, 0)
      assert.deepEqual(
        await linesOf(w, result.id),
        ['not now', 'not now', 'not now (rejected 3 times)'].map((message) => ['rejected', 'Reject', message]),
      )
      assert.deepEqual(told, ['requeued', 'requeued', 'failed'])
    })
  }

  it('with requeue is counted anew after each retry, and without a result leaves nothing (acked early)', async () => {
    await using w = await openWorld({ now: Date.now, settings: { maxDeliveries: 2 } })
    const seen: number[] = []
    const task = w.app.task({ name: 'never', bind: true, ignoreResult: true }, ({ request, retry }) => {
      seen.push(request.retries)
      if (seen.length === 2) retry({ countdown: 0 })
      throw new Reject('not now', { requeue: true })
    })
    await using here = working(w.app)
    await task.delay()
    await until(async () => seen.length === 4 && (await w.app.tasks.count()) === 0, 'the task to be given up')
    here.worker.stop()
    await here.ended
    assert.deepEqual(seen, [0, 0, 1, 1])
    assert.deepEqual(await w.database.all('SELECT * FROM task_attempt', []), [])
  })

  it('with requeue is PENDING until a worker takes it again, and nobody has it (acked late)', async () => {
    await using w = await openWorld()
    const stopping = new AbortController()
    const task = w.app.task({ name: 'later', bind: true, acksLate: true }, ({ request }) => {
      if (request.deliveries > 1) return request.deliveries
      stopping.abort()
      throw new Reject('not now', { requeue: true })
    })
    const result = await task.delay()
    {
      await using here = working(w.app)
      stopping.signal.addEventListener('abort', () => here.worker.stop())
      await here.ended
    }
    const { status, workerId, leaseUntil, startedAt, deliveries, publishedAt } = await rowOf(w, result.id)
    assert.deepEqual([status, workerId, leaseUntil, startedAt, deliveries], ['PENDING', null, null, null, 1])
    assert.ok(publishedAt)
    assert.deepEqual(await staleOf(w), [[result.id, 'unclaimed']])
    await using _ = working(w.app)
    assert.equal(await result.get(SOON), 2)
  })

  it('with requeue tells the hook requeued, and not failed', async () => {
    await using w = await openWorld({ now: Date.now })
    const told: string[] = []
    for (const kind of ['started', 'requeued', 'failed', 'succeeded'] as const) w.app.on(kind, () => told.push(kind))
    let runs = 0
    const task = w.app.task({ name: 'later', acksLate: true }, () => {
      if (++runs === 1) throw new Reject('not now', { requeue: true })
    })
    await using _ = working(w.app)
    await (await task.delay()).get(SOON)
    await until(() => told.length === 4, 'the hooks')
    assert.deepEqual(told, ['started', 'requeued', 'started', 'succeeded'])
  })
})

describe('a failure of a task whose result is ignored', () => {
  for (const acksLate of [false, true]) {
    it(`leaves a row and a line with storeErrorsEvenIfIgnored, and nothing without (acked ${acksLate ? 'late' : 'early'})`, async () => {
      await using w = await openWorld()
      const body = (good: boolean) => {
        if (!good) throw new RangeError('boom')
      }
      const kept = w.app.task({ name: 'kept', acksLate, ignoreResult: true, storeErrorsEvenIfIgnored: true }, body)
      const quiet = w.app.task({ name: 'quiet', acksLate, ignoreResult: true }, body)
      const failed = await kept.delay(false)
      const others = [await kept.delay(true), await quiet.delay(false)]
      await using here = working(w.app)
      await until(async () => (await w.app.tasks.get(failed.id))?.status === 'FAILURE', 'the failure')
      here.worker.stop()
      await here.ended
      assert.deepEqual(await linesOf(w, failed.id), [['failure', 'RangeError', 'boom']])
      for (const { id } of others) assert.equal(await w.app.tasks.get(id), null)
      assert.equal(await w.app.tasks.count(), 1)
      await assertMessages(w, 0)
    })
  }
})

describe('a task of trackStarted false', () => {
  it('stays PENDING while it runs, and ends as any other', async () => {
    await using w = await openWorld()
    const door = gate()
    const task = w.app.task({ name: 'quiet', trackStarted: false }, async () => {
      await door.passed
      return 'done'
    })
    await using here = working(w.app)
    const result = await task.delay()
    const row = await until(async () => {
      const found = await rowOf(w, result.id)
      return found.leaseUntil && found
    }, 'the task to run')
    assert.deepEqual([row.status, row.workerId, row.startedAt], ['PENDING', here.worker.workerId, new Date(w.clock.now())])
    door.open()
    assert.equal(await result.get(SOON), 'done')
  })

  it('is found as lost when its worker is gone', async () => {
    await using w = await openWorld()
    const task = w.app.task({ name: 'quiet', trackStarted: false }, () => new Promise(() => {}))
    await using _ = working(w.app)
    const { id } = await task.delay()
    await until(async () => (await rowOf(w, id)).leaseUntil, 'the task to run')
    assert.deepEqual(await staleOf(w), [[id, 'stuck']])
    w.clock.advance(LEASE_MS)
    assert.deepEqual(await staleOf(w), [[id, 'lost']])
  })
})

describe('task.update()', () => {
  it('writes a status of the task’s own and a meta, each alone or both, until the task ends', async () => {
    await using w = await openWorld()
    const doors = [gate(), gate(), gate()]
    const task = w.app.task({ name: 'steps', bind: true }, async ({ update }) => {
      await update({ meta: { p: 10 } })
      await doors[0]?.passed
      await update({ state: 'PROGRESS', meta: { p: 50 } })
      await doors[1]?.passed
      await update({ state: 'NEARLY' })
      await doors[2]?.passed
      return 'done'
    })
    await using _ = working(w.app)
    const result = await task.delay()
    for (const [at, [status, meta]] of [
      ['STARTED', { p: 10 }] as const,
      ['PROGRESS', { p: 50 }] as const,
      ['NEARLY', { p: 50 }] as const,
    ].entries()) {
      const row = await until(async () => {
        const found = await rowOf(w, result.id)
        return found.status === status && found.meta !== null && found
      }, status)
      assert.deepEqual([row.meta, row.finishedAt], [meta, null])
      assert.deepEqual([await result.state(), await result.ready()], [status, false])
      doors[at]?.open()
    }
    assert.equal(await result.get(SOON), 'done')
    assert.deepEqual([await result.state(), (await rowOf(w, result.id)).meta], ['SUCCESS', { p: 50 }])
  })

  it('refuses the ledger’s own statuses, no word, too long a word, and a meta that is not JSON', async () => {
    await using w = await openWorld()
    const task = w.app.task({ name: 'odd', bind: true }, async ({ update }) => {
      const updates = [{ state: 'SUCCESS' }, { state: 'PENDING' }, { state: '' }, { state: 'x'.repeat(51) }, { meta: new Date(0) as never }]
      return (await Promise.allSettled(updates.map((one) => update(one)))).map((answer) => 'reason' in answer && answer.reason.name)
    })
    await using _ = working(w.app)
    const result = await task.delay()
    assert.deepEqual(await result.get(SOON), ['UsageError', 'UsageError', 'UsageError', 'UsageError', 'NotJsonError'])
    assert.equal((await rowOf(w, result.id)).meta, null)
  })

  it('leaves a row that is found as stuck while its worker lives, and as lost when it is gone', async () => {
    await using w = await openWorld()
    const task = w.app.task({ name: 'steps', bind: true }, async ({ update }) => {
      await update({ state: 'PROGRESS' })
      await new Promise(() => {})
    })
    await using _ = working(w.app)
    const result = await task.delay()
    await until(async () => (await result.state()) === 'PROGRESS', 'the update')
    assert.deepEqual(await staleOf(w), [[result.id, 'stuck']])
    w.clock.advance(LEASE_MS)
    assert.deepEqual(await staleOf(w), [[result.id, 'lost']])
  })

  for (const [ending, body, status] of [
    ['fails', () => Promise.reject(new Error('boom')), 'FAILURE'],
    ['is ignored', () => Promise.reject(new Ignore()), 'IGNORED'],
  ] as const) {
    it(`may be followed by any end: it ${ending}`, async () => {
      await using w = await openWorld()
      const task = w.app.task({ name: 'steps', bind: true }, async ({ update }) => {
        await update({ state: 'PROGRESS' })
        return body()
      })
      await using _ = working(w.app)
      const result = await task.delay()
      await result.get(UNTHROWN)
      assert.equal(await result.state(), status)
    })
  }

  it('of a task whose row has ended changes nothing', async () => {
    await using w = await openWorld()
    const door = gate()
    let updated = false
    const task = w.app.task({ name: 'steps', bind: true }, async ({ update }) => {
      await door.passed
      await update({ state: 'PROGRESS', meta: 1 })
      updated = true
    })
    await using _ = working(w.app)
    const result = await task.delay()
    await until(async () => (await result.state()) === 'STARTED', 'the task to start')
    await result.revoke({ terminate: true })
    const before = await rowOf(w, result.id)
    door.open()
    await until(() => updated, 'the update')
    assert.deepEqual(await rowOf(w, result.id), before)
  })
})
