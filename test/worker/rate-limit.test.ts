import assert from 'node:assert/strict'
import fc from 'fast-check'
import { messageOf } from '../../src/lib/ledger/row.js'
import { rateIntervalMs } from '../../src/lib/task/rate-limit.js'
import { assertMessages, countMessages } from '../helpers/messages.js'
import { until } from '../helpers/until.js'
import { working } from '../helpers/working.js'
import { DAWN, openWorld, type World } from '../helpers/world.js'

const SOON = { timeout: 15 } as const
const MINUTE = 60_000

const rowOf = async (w: World, id: string) => (await w.app.tasks.get(id)) ?? assert.fail(`no row for ${id}`)

describe('a rate', () => {
  it('is the time between two starts: as many fit into its unit as it says, and no more', () => {
    const units = { s: 1000, m: 60_000, h: 3_600_000 } as const
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1000 }), fc.constantFrom('s', 'm', 'h'), (count, unit) => {
        const interval = rateIntervalMs(`${count}/${unit}`)
        assert.ok(interval * count >= units[unit])
        assert.ok((interval - 1) * count < units[unit])
      }),
    )
  })

  it('may have a fraction, and is one a second without a unit', () => {
    assert.deepEqual(['10/s', '10/m', '0.5/h', '10', '1.5/s'].map(rateIntervalMs), [100, 6000, 7_200_000, 100, 667])
  })

  it('of any other form is refused, at the declaration of the task', async () => {
    await using w = await openWorld()
    for (const rateLimit of ['', '0', '0/m', '-1/s', '10/d', '10 /s', '10/', 'x', '1e3/s', '.5/s']) {
      assert.throws(() => w.app.task({ name: 'odd', rateLimit }, () => 1), {
        message: `rateLimit: expected a rate such as 10/s, 10/m or 10/h, got: ${rateLimit}`,
      })
    }
  })
})

describe('a rate-limited task', () => {
  it('starts no more often than its rate, over all workers together', async () => {
    await using w = await openWorld({ now: Date.now })
    const starts: number[] = []
    const there = await w.join()
    for (const { app } of [w, there]) app.task({ name: 'slow', rateLimit: '20/s' }, () => starts.push(Date.now()))
    const results = await Promise.all(Array.from({ length: 8 }, () => w.app.sendTask('slow')))
    await using _here = working(w.app)
    await using _there = working(there.app)
    for (const result of results) await result.get(SOON)
    starts.sort((a, b) => a - b)
    assert.equal(starts.length, 8)
    // the first may have been told of its start late, the last never early
    const begun = (await Promise.all(results.map(({ id }) => rowOf(w, id))))
      .map((row) => row.startedAt?.getTime() ?? 0)
      .sort((a, b) => a - b)
    begun.forEach((at, n) => {
      assert.ok(at - (begun[0] ?? 0) >= n * 50, `start ${n} after ${at - (begun[0] ?? 0)} ms`)
    })
  })

  it('waits as a row, found overdue when no sender runs; no other task waits for it, nor it for a slot', async () => {
    await using w = await openWorld()
    const started: string[] = []
    const limited = w.app.task({ name: 'limited', bind: true, rateLimit: '1/m' }, ({ request }) => {
      started.push(request.id)
    })
    const free = w.app.task('free', () => 'free')
    const [first, ...waiting] = [await limited.delay(), await limited.delay(), await limited.delay()]
    const other = await free.delay()
    await using _ = working(w.app, { concurrency: 1, sender: false })
    assert.equal(await other.get(SOON), 'free')
    assert.deepEqual(started, [first?.id])
    for (const [n, { id }] of waiting.entries()) {
      const row = await rowOf(w, id)
      assert.deepEqual([row.status, row.eta, row.publishedAt], ['PENDING', new Date(DAWN + (n + 1) * MINUTE), null])
    }
    await assertMessages(w, 0)

    w.clock.advance(2 * MINUTE)
    assert.deepEqual(
      (await w.app.tasks.findStale()).map(({ taskId, reason }) => [taskId, reason]),
      waiting.map(({ id }) => [id, 'overdue']),
    )
    w.clock.advance(1)
    await w.app.tasks.sendScheduled()
    for (const result of waiting) await result.get(SOON)
    const ids = [first?.id, ...waiting.map(({ id }) => id)]
    assert.deepEqual(w.carrier ? started.toSorted() : started, w.carrier ? ids.toSorted() : ids) // a server is handed them side by side
  })

  it('has a rate of its own: another task of the same rate starts at once', async () => {
    await using w = await openWorld()
    const tasks = ['a', 'b', 'c'].map((name) => w.app.task({ name, rateLimit: '1/h' }, () => name))
    await using _ = working(w.app, { sender: false })
    for (const task of tasks) assert.equal(await (await task.delay()).get(SOON), task.taskName)
  })

  it('that was not started for a while has saved up no starts', async () => {
    await using w = await openWorld()
    const task = w.app.task({ name: 'limited', rateLimit: '1/m' }, () => 1)
    await using _ = working(w.app, { sender: false })
    await (await task.delay()).get(SOON)
    w.clock.advance(10 * MINUTE)
    const [next, last] = [await task.delay(), await task.delay()]
    await next?.get(SOON)
    await until(async () => (await rowOf(w, last?.id ?? '')).eta, 'the second one to wait')
    assert.deepEqual((await rowOf(w, last?.id ?? '')).eta, new Date(DAWN + 11 * MINUTE))
  })

  it('takes a turn of its own for each retry', async () => {
    await using w = await openWorld()
    const starts: number[] = []
    const task = w.app.task({ name: 'limited', bind: true, rateLimit: '1/m' }, ({ request, retry }) => {
      starts.push((w.clock.now() - DAWN) / MINUTE)
      if (request.retries < 2) retry({ countdown: 0 })
    })
    await using _ = working(w.app)
    const result = await task.delay()
    for (const n of [1, 2]) {
      await until(async () => (await result.state()) === 'RETRY', 'the retry')
      w.clock.advance(1)
      const turn = new Date(DAWN + n * MINUTE)
      await until(async () => (await rowOf(w, result.id)).eta?.getTime() === turn.getTime(), `turn ${n}`)
      assert.deepEqual([(await rowOf(w, result.id)).status, starts.length], ['RETRY', n])
      w.clock.advance(turn.getTime() - w.clock.now() + 1)
      await until(async () => starts.length > n && (await rowOf(w, result.id)).status !== 'STARTED', `start ${n}`)
    }
    await result.get(SOON)
    assert.deepEqual(starts.map(Math.floor), [0, 1, 2])
  })

  for (const ignoreResult of [false, true]) {
    it(`leaves behind what any other does, also after it waited${ignoreResult ? ': nothing, when its result is ignored' : ''}`, async () => {
      await using w = await openWorld()
      let runs = 0
      const task = w.app.task({ name: 'limited', rateLimit: '1/m', ignoreResult }, () => {
        runs += 1
      })
      const results = [await task.delay(), await task.delay()]
      await using here = working(w.app)
      await until(() => runs === 1, 'the first run')
      await until(async () => (await w.app.tasks.get(results[1]?.id ?? ''))?.eta, 'the second one to wait')
      w.clock.advance(MINUTE + 1)
      await until(() => runs === 2, 'the second run')
      here.worker.stop()
      await here.ended
      assert.equal(await w.app.tasks.count({ statuses: ['SUCCESS'] }), ignoreResult ? 0 : 2)
      assert.equal(await w.app.tasks.count(), ignoreResult ? 0 : 2)
      await assertMessages(w, 0)
    })
  }

  it('that waits for a retry is not moved up by its message delivered once more', async () => {
    await using w = await openWorld()
    const seen: number[] = []
    const task = w.app.task({ name: 'limited', bind: true, rateLimit: '60/m' }, ({ request, retry }) => {
      seen.push(request.retries)
      if (request.retries === 0) retry({ countdown: 3600 })
    })
    const result = await task.delay()
    const message = messageOf(await rowOf(w, result.id))
    await using _ = working(w.app)
    await until(async () => (await result.state()) === 'RETRY', 'the retry')
    const { eta } = await rowOf(w, result.id)
    await w.broker.publish([message])
    await until(async () => (await countMessages(w)) === 0, 'the duplicate to be acked')
    assert.deepEqual((await rowOf(w, result.id)).eta, eta)
    assert.deepEqual(seen, [0])
  })
})
