import assert from 'node:assert/strict'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import type { WorkerOptions } from '../../src/lib/app/app.js'
import { childrenOf } from '../helpers/alive.js'
import { dieWith } from '../helpers/lives.js'
import { assertWaiting } from '../helpers/messages.js'
import { runs, side } from '../helpers/side-effects.js'
import { ended, openSite } from '../helpers/site.js'
import { until } from '../helpers/until.js'
import { gate, pooled, working } from '../helpers/working.js'
import { openWorld, type World } from '../helpers/world.js'

const SOON = { timeout: 15 } as const
const UNTHROWN = { timeout: 15, propagate: false } as const
const SHUT_DOWN = 'WorkerShutdown: its worker was shut down before it ended'

const linesOf = async (w: World, id: string) =>
  ((await w.app.tasks.history(id))?.attempts ?? []).map(({ kind, errorType }) => [kind, errorType])

/** What an orderly stop may not leave: a row or a message in the hands of a worker. */
const heldBy = (w: World) =>
  w.database.all(
    `SELECT task_id FROM task_result WHERE finished_at IS NULL AND lease_until > ?
      UNION ALL SELECT task_id FROM task_message WHERE held_until IS NOT NULL UNION ALL SELECT worker_id FROM task_worker`,
    [w.clock.now()],
  )

const POOLS: readonly WorkerOptions[] = [
  { pool: 'async', shutdownTimeout: 0.1 },
  { pool: 'processes', shutdownTimeout: 0.1 },
]

describe('a worker whose tasks do not end within its shutdownTimeout', () => {
  for (const options of POOLS) {
    it(`gives late-ack work back at once, and settles early-ack work by its onWorkerLost: pool ${options.pool}`, async () => {
      await using w = await openWorld({ now: Date.now, settings: { lease: 600 } })
      const told: string[] = []
      for (const kind of ['failed', 'retried', 'succeeded', 'revoked'] as const)
        w.app.on(kind, ({ id }: { readonly id: string }) => told.push(`${kind} ${id}`))
      const here = await pooled(w.app, { concurrency: 4, ...options })
      const send = (task: string) => w.app.sendTask(task, [side(w)])
      const [early, failing, retrying, late] = [
        await send('hold'),
        await send('hold_fail'),
        await send('hold_retry'),
        await send('hold_late'),
      ]
      await until(() => runs(w).length === 4, 'four bodies to run')
      here.worker.stop()
      await here.ended

      assert.deepEqual(await heldBy(w), [])
      await assertWaiting(w, 1)
      assert.deepEqual(childrenOf(process.pid), [])
      for (const result of [early, failing]) {
        assert.equal(String(await result.get(UNTHROWN)), SHUT_DOWN)
        assert.deepEqual(await linesOf(w, result.id), [['failure', 'WorkerShutdown']])
      }
      assert.equal(await retrying.state(), 'RETRY')
      assert.deepEqual(await linesOf(w, retrying.id), [['retry', 'WorkerShutdown']])
      assert.deepEqual(new Set(told), new Set([`failed ${early.id}`, `failed ${failing.id}`, `retried ${retrying.id}`]))
      assert.deepEqual(
        (await w.app.tasks.findStale({ reasons: ['unclaimed', 'lost', 'stuck'] })).map(({ taskId, reason }) => [taskId, reason]),
        [[late.id, 'unclaimed']],
      )
      const { status, workerId, leaseUntil, startedAt, deliveries } = (await w.app.tasks.get(late.id)) ?? assert.fail('no row')
      assert.deepEqual([status, workerId, leaseUntil, startedAt, deliveries], ['PENDING', null, null, null, 1])
      assert.equal(await w.app.tasks.count({ statuses: ['STARTED'] }), 0)

      await using _ = working(w.app)
      assert.equal(await late.get(SOON), 2)
      assert.equal(await retrying.get(SOON), 1)
    })
  }

  it('lets those end that do', async () => {
    await using w = await openWorld({ now: Date.now })
    const doors = { short: gate(), long: gate() }
    const task = w.app.task({ name: 'nap', acksLate: true }, async (which: keyof typeof doors) => {
      await doors[which].passed
      return which
    })
    const here = working(w.app, { shutdownTimeout: 1 })
    const [short, long] = [await task.delay('short'), await task.delay('long')]
    await until(async () => (await w.app.tasks.count({ statuses: ['STARTED'] })) === 2, 'the tasks to start')
    here.worker.stop()
    for (let turns = 0; turns < 100; turns++) await turn()
    doors.short.open()
    await here.ended
    assert.equal(await short.get(SOON), 'short')
    assert.equal(await long.ready(), false)
    assert.deepEqual(await heldBy(w), [])
    await assertWaiting(w, 1)
  })

  it("fails work whose onWorkerLost is 'retry' and that has no retry left", async () => {
    await using w = await openWorld({ now: Date.now })
    const task = w.app.task({ name: 'spent', onWorkerLost: 'retry', maxRetries: 0 }, () => new Promise(() => {}))
    const here = working(w.app, { shutdownTimeout: 0 })
    const result = await task.delay()
    await until(async () => (await result.state()) === 'STARTED', 'the task to start')
    here.worker.stop()
    await here.ended
    assert.equal(String(await result.get(UNTHROWN)), SHUT_DOWN)
  })

  it('fails early-ack work that has a status of its own, and work whose start is not tracked', async () => {
    await using w = await openWorld({ now: Date.now })
    const steps = w.app.task({ name: 'steps', bind: true }, async ({ update }) => {
      await update({ state: 'PROGRESS' })
      await new Promise(() => {})
    })
    const quiet = w.app.task({ name: 'quiet', trackStarted: false }, () => new Promise(() => {}))
    const here = working(w.app, { shutdownTimeout: 0 })
    const [step, silent] = [await steps.delay(), await quiet.delay()]
    await until(async () => (await step.state()) === 'PROGRESS', 'the update')
    await until(async () => (await w.app.tasks.get(silent.id))?.leaseUntil, 'the other one to run')
    here.worker.stop()
    await here.ended
    for (const result of [step, silent]) assert.equal(String(await result.get(UNTHROWN)), SHUT_DOWN)
    assert.deepEqual(await heldBy(w), [])
    await assertWaiting(w, 0)
  })
})

describe('what workers that are shut down give back', () => {
  for (const ignoreResult of [false, true]) {
    const recorded = ignoreResult ? 'result ignored' : 'result kept'
    it(`runs again as often as that happens: none of it counts towards maxDeliveries (${recorded})`, async () => {
      await using w = await openWorld({ now: Date.now, settings: { maxDeliveries: 2 } })
      let runs = 0
      const task = w.app.task({ name: 'long', bind: true, acksLate: true, ignoreResult }, async ({ request }) => {
        if (++runs <= 4) await new Promise(() => {})
        return request.deliveries
      })
      const { id } = await task.delay()
      for (let restarts = 1; restarts <= 4; restarts++) {
        const here = working(w.app)
        await until(() => runs === restarts, 'the task to run')
        here.worker.stop({ now: true })
        await here.ended
      }
      const { status, deliveries } = (await w.app.tasks.get(id)) ?? assert.fail('no row')
      assert.deepEqual([status, deliveries, runs], ['PENDING', 4, 4])
      const line = ['given-back', 'WorkerShutdown']
      assert.deepEqual(await linesOf(w, id), [line, line, line, line])

      await using _ = working(w.app)
      if (ignoreResult) {
        await until(async () => (await w.app.tasks.count()) === 0, 'the task to end, and its row with it')
        assert.deepEqual(await w.database.all('SELECT * FROM task_attempt', []), [])
      } else assert.equal(await w.app.result(id).get(SOON), 5)
      assert.equal(runs, 5)
    })
  }

  it('is counted for the workers that die with it all the same, anew after each retry', async () => {
    await using w = await openWorld({ settings: { maxDeliveries: 2 } })
    let started = 0
    const task = w.app.task({ name: 'long', bind: true, acksLate: true }, ({ retry }) => {
      if (++started === 2) retry({ countdown: 60 })
      return new Promise(() => {})
    })
    const giveBack = async (runs: number) => {
      const here = working(w.app, { sender: false })
      await until(() => started === runs, 'the task to run')
      here.worker.stop({ now: true })
      await here.ended
    }
    const result = await task.delay()
    await giveBack(1)
    {
      await using _ = working(w.app, { sender: false })
      await until(async () => (await result.state()) === 'RETRY', 'the retry')
    }
    w.clock.advance(60_001)
    await w.app.tasks.sendScheduled()
    for (const runs of [3, 4]) {
      await giveBack(runs)
      await dieWith(w, 'while it ran')
    }
    await using _ = working(w.app)
    assert.equal(String(await result.get(UNTHROWN)), 'WorkerLostError: delivered 2 times, and no worker lived to finish it')
  })

  it('is not counted either when it came too late to be begun', async () => {
    let stop = () => {}
    const failpoint = async (point: string) => {
      if (point === 'claim:received') stop()
    }
    await using w = await openWorld({ now: Date.now, failpoint, settings: { maxDeliveries: 1 } })
    let runs = 0
    const task = w.app.task({ name: 'quick', rateLimit: '1000/s' }, () => ++runs) // not started by its claim
    const result = await task.delay()
    for (let restarts = 0; restarts < 3; restarts++) {
      const here = working(w.app)
      stop = () => here.worker.stop()
      await here.ended
    }
    stop = () => {}
    assert.deepEqual([runs, await result.state()], [0, 'PENDING'])
    assert.deepEqual(await heldBy(w), [])
    await assertWaiting(w, 1)
    await using _ = working(w.app)
    assert.equal(await result.get(SOON), 1)
  })
})

describe('a shutdownTimeout', () => {
  it('beyond what a timer can wait for is refused, and up to that waits', async () => {
    await using w = await openWorld({ now: Date.now })
    await assert.rejects(working(w.app, { shutdownTimeout: 2_147_484 }).ended, {
      name: 'ConfigurationError',
      message: 'app.worker: shutdownTimeout: expected a number of seconds, 0 or more, at most 2147483, got: 2147484',
    })
    const door = gate()
    const task = w.app.task('wait', () => door.passed)
    const here = working(w.app, { shutdownTimeout: 2_147_483 })
    const result = await task.delay()
    await until(async () => (await result.state()) === 'STARTED', 'the task to start')
    here.worker.stop()
    await sleep(50) // a timer that is set for too long ends at once
    assert.equal(await result.state(), 'STARTED')
    door.open()
    await here.ended
    assert.equal(await result.state(), 'SUCCESS')
  })
})

describe('a worker command', () => {
  for (const pool of ['async', 'processes']) {
    it(`on SIGQUIT ends at once, with exit code 131, and leaves nothing in its hands: pool ${pool}`, async () => {
      await using site = await openSite({ TASKLEDGER_LEASE: '600' })
      const worker = site.start('worker', '--app', 'test/fixtures/pool-app.mjs', '--pool', pool, '-c', '2')
      const [early, late] = [await site.app.sendTask('hold', [side(site)]), await site.app.sendTask('hold_late', [side(site)])]
      await until(() => runs(site).length === 2, 'two bodies to run')
      worker.signal('SIGQUIT')
      assert.deepEqual(await worker.end(), ended(131))
      assert.equal(String(await early.get(UNTHROWN)), SHUT_DOWN)
      assert.deepEqual(await heldBy(site), [])
      const [delivery] = await site.broker.receive(['default'], 2, 1000)
      assert.equal(delivery?.message.id, late.id)
    })
  }

  it('on SIGTERM waits as long as --shutdown-timeout says, and exits 0', async () => {
    await using site = await openSite({ TASKLEDGER_LEASE: '600' })
    const worker = site.start('worker', '--app', 'test/fixtures/pool-app.mjs', '--shutdown-timeout', '0s')
    const early = await site.app.sendTask('hold', [side(site)])
    await until(() => runs(site).length === 1, 'the body to run')
    worker.signal('SIGTERM')
    assert.deepEqual(await worker.end(), ended(0))
    assert.equal(String(await early.get(UNTHROWN)), SHUT_DOWN)
    assert.deepEqual(await heldBy(site), [])
  })
})
