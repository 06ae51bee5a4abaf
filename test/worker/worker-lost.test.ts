import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { removeWorker } from '../../src/lib/ledger/workers.js'
import type { Running } from '../helpers/processes.js'
import { type Columns, putRow, storedRow } from '../helpers/rows.js'
import { runs, side } from '../helpers/side-effects.js'
import { openSite, type Site } from '../helpers/site.js'
import { allow, refuse } from '../helpers/triggers.js'
import { until } from '../helpers/until.js'
import { working } from '../helpers/working.js'
import { DAWN, openWorld, type World } from '../helpers/world.js'

const SOON = { timeout: 15 } as const
const UNTHROWN = { timeout: 15, propagate: false } as const

const rowOf = async (w: World, id: string) => (await w.app.tasks.get(id)) ?? assert.fail(`no row for ${id}`)
const linesOf = async (w: World, id: string) =>
  ((await w.app.tasks.history(id))?.attempts ?? []).map(({ kind, errorType, workerId }) => [kind, errorType, workerId])

/** A row as a worker leaves it that vanished: started under a lease that has run out. */
const vanished = (w: World, columns: Columns) =>
  putRow(w.database, {
    status: 'STARTED',
    worker_id: 'gone',
    deliveries: 1,
    lease_until: DAWN - 1,
    started_at: DAWN - 100,
    max_retries: 3,
    ...columns,
  })

const GONE = 'its worker gone has been silent since its lease ran out at 2026-11-20T11:59:59.999Z'

/** A world whose workers look for lost rows often. */
const open = () => openWorld({ settings: { lease: 0.3 } })

/** Has a worker make `passes` passes over what is lost: each begins with a beat, which moves its row. */
async function rescued(w: World, passes = 2): Promise<void> {
  await using here = working(w.app, { sender: false })
  const beats = async () => {
    w.clock.advance(1)
    return (await w.database.all<{ beat_at: number }>('SELECT beat_at FROM task_worker', []))[0]?.beat_at
  }
  const seen = new Set<number>()
  await until(async () => {
    const at = await beats()
    if (at !== undefined) seen.add(at)
    return seen.size > passes
  }, `${passes} passes`)
  here.worker.stop()
  await here.ended
}

describe('a row whose worker vanished', () => {
  it('whose task reports stays as it is, and is listed as lost', async () => {
    await using w = await open()
    await vanished(w, { task_id: 'report' })
    const before = await storedRow(w.database, 'report')
    await rescued(w)
    assert.deepEqual(await storedRow(w.database, 'report'), before)
    assert.deepEqual(
      (await w.app.tasks.findStale()).map(({ taskId, reason }) => [taskId, reason]),
      [['report', 'lost']],
    )
  })

  for (const [what, columns] of [
    ['fails', { options: '{"onWorkerLost":"fail"}' }],
    ['retries, and no retry is left', { options: '{"onWorkerLost":"retry"}', retries: 3 }],
    ['retries, and its arguments were redacted', { options: '{"onWorkerLost":"retry","redacted":["args[0]"]}' }],
    ['fails, with a custom status', { options: '{"onWorkerLost":"fail"}', status: 'PROGRESS' }],
    ['fails, with a status that is not tracked', { options: '{"onWorkerLost":"fail"}', status: 'PENDING' }],
  ] as const) {
    it(`whose task ${what} becomes FAILURE WorkerLostError`, async () => {
      await using w = await open()
      const told: unknown[] = []
      w.app.on('lost', ({ id, task, error, retried }) => told.push([id, task, error.type, retried]))
      await vanished(w, { task_id: 'it', ...columns })
      await rescued(w)
      const { status, errorType, errorMessage, finishedAt, leaseUntil, resultExpiresAt } = await rowOf(w, 'it')
      assert.deepEqual([status, errorType, errorMessage, leaseUntil], ['FAILURE', 'WorkerLostError', GONE, null])
      assert.ok(finishedAt && resultExpiresAt && resultExpiresAt > finishedAt)
      assert.deepEqual(await linesOf(w, 'it'), [['lost', 'WorkerLostError', 'gone']])
      assert.deepEqual(told, [['it', 'mail.send', 'WorkerLostError', false]])
    })
  }

  for (const [what, columns] of [
    ['a retry is left', { retries: 2 }],
    ['there is no limit', { retries: 9, max_retries: null }],
  ] as const) {
    it(`whose task retries becomes RETRY under the same id, due at once, when ${what}`, async () => {
      await using w = await open()
      const told: unknown[] = []
      w.app.on('lost', ({ retried }) => told.push(retried))
      await vanished(w, { task_id: 'it', options: '{"onWorkerLost":"retry"}', ...columns })
      await rescued(w)
      const row = await rowOf(w, 'it')
      assert.deepEqual([row.status, row.retries, row.workerId, row.leaseUntil], ['RETRY', columns.retries + 1, null, null])
      assert.deepEqual([row.publishedAt, row.finishedAt, row.errorType], [null, null, 'WorkerLostError'])
      assert.deepEqual(told, [true])
      w.clock.advance(1)
      assert.deepEqual(
        (await w.app.tasks.sendScheduled()).map(({ taskId, outcome }) => [taskId, outcome]),
        [['it', 'sent']],
      )
    })
  }

  it('acked late is never judged: its message comes back', async () => {
    await using w = await open()
    await vanished(w, { task_id: 'late', options: '{"acksLate":true}' })
    const before = await storedRow(w.database, 'late')
    await rescued(w)
    assert.deepEqual(await storedRow(w.database, 'late'), before)
  })

  it('is left alone while its lease lives, to the millisecond', async () => {
    await using w = await openWorld({ settings: { lease: 0.3 } })
    await vanished(w, { task_id: 'it', options: '{"onWorkerLost":"fail"}', lease_until: DAWN + 3_600_000 })
    await rescued(w)
    assert.equal((await rowOf(w, 'it')).status, 'STARTED')
  })

  it('is settled once, however many workers look', async () => {
    await using w = await open()
    const others = [await w.join(), await w.join()]
    const told: string[] = []
    for (const { app } of [w, ...others]) app.on('lost', ({ id }) => told.push(id))
    for (let n = 0; n < 20; n++) await vanished(w, { task_id: `it-${n}`, options: '{"onWorkerLost":"fail"}' })
    {
      await using _a = working(others[0]?.app ?? w.app)
      await using _b = working(others[1]?.app ?? w.app)
      await until(async () => (await w.app.tasks.count({ statuses: ['FAILURE'] })) === 20, 'all of them to be settled')
    }
    assert.deepEqual([told.length, new Set(told).size], [20, 20])
  })
})

const APP = ['--app', 'test/fixtures/pool-app.mjs']
/** RabbitMQ hands messages to a worker that is paused until it has missed its heartbeat. */
const hasty = ({ carrier }: Site) => (carrier ? ['--broker', `${carrier.url}?heartbeat=1`] : [])

describe('a worker process that is killed', () => {
  for (const pool of ['async', 'processes']) {
    it(`has its tasks settled by another, each as it declares: pool ${pool}`, async () => {
      await using site = await openSite({ TASKLEDGER_LEASE: '1' })
      const redacting = await site.join({ redact: ['args[1]'] })
      const first = site.start('worker', ...APP, '--pool', pool, '-c', '5')
      const [report, fail, retry, late] = await Promise.all(
        ['hold', 'hold_fail', 'hold_retry', 'hold_late'].map((task) => site.app.sendTask(task, [side(site)])),
      )
      const redacted = await redacting.app.sendTask('hold_retry', [side(site), 'secret'])
      assert.ok(report && fail && retry && late)
      await until(() => runs(site).length === 5, 'five bodies to run')
      await first.kill()

      const second = site.start('worker', ...APP, '-c', '5', '--log-format', 'json')
      const lost = /^WorkerLostError: its worker .* has been silent since its lease ran out at /
      assert.match(String(await fail.get(UNTHROWN)), lost)
      assert.match(String(await redacted.get(UNTHROWN)), lost)
      assert.equal(await retry.get(SOON), 1)
      assert.equal(await late.get(SOON), 2)
      assert.deepEqual(
        (await site.app.tasks.findStale()).map(({ taskId, reason }) => [taskId, reason]),
        [[report.id, 'lost']],
      )
      assert.equal(runs(site).length, 7)
      assert.deepEqual((await linesOf(site, late.id)).length, 0)
      await second.said('"event":"lost"', 3)
      const told = second.stderr.filter((line) => line.includes('"event":"lost"')).map((line) => JSON.parse(line))
      assert.deepEqual(
        new Set(told.map(({ taskId, retried }) => `${taskId} ${retried}`)),
        new Set([`${fail.id} false`, `${redacted.id} false`, `${retry.id} true`]),
      )
    })
  }
})

/** Stops it between two of its commits: within one it would keep everybody else from writing to SQLite. */
const pause = (site: Site, program: Running): Promise<boolean> =>
  until(async () => {
    program.signal('SIGSTOP')
    const written = site.database.write((sql) => removeWorker(sql, 'nobody')).then(() => true)
    const free = await Promise.race([written, sleep(1000, false)])
    if (!free) program.signal('SIGCONT')
    return free
  }, 'the program to stand between two commits')

describe('a worker process that is paused for longer than its lease, and goes on', () => {
  for (const [lost, expected] of [
    ['fail', 'FAILURE'],
    ['retry', 'SUCCESS'],
  ] as const) {
    it(`has its answer kept as a late-result line; the row stays what the rescuer made it: onWorkerLost ${lost}`, async () => {
      await using site = await openSite({ TASKLEDGER_LEASE: '1' })
      const door = join(site.folder, 'door')
      const paused = site.start('worker', ...APP, ...hasty(site))
      const result = await site.app.sendTask(`wait_${lost}`, [door])
      const started = await until(async () => {
        const row = await rowOf(site, result.id)
        return row.status === 'STARTED' && row
      }, 'the task to start')
      await pause(site, paused)
      const rescuer = site.start('worker', ...APP)
      await result.get(UNTHROWN)
      assert.equal(await result.state(), expected)
      const before = await rowOf(site, result.id)
      const lines = await linesOf(site, result.id)
      rescuer.signal('SIGTERM')
      await rescuer.end()

      await writeFile(door, '')
      paused.signal('SIGCONT')
      await until(async () => (await linesOf(site, result.id)).length > lines.length, 'the late answer')
      assert.deepEqual(await linesOf(site, result.id), [...lines, ['late-result', 'LateResult', started.workerId]])
      assert.deepEqual(await rowOf(site, result.id), before)
      assert.equal(typeof (await (await site.app.sendTask('pid')).get(SOON)), 'number')
    })
  }

  it('and that nobody took anything from has its answer counted', async () => {
    await using site = await openSite({ TASKLEDGER_LEASE: '0.6' })
    const door = join(site.folder, 'door')
    const paused = site.start('worker', ...APP)
    const results = await Promise.all(['report', 'fail', 'retry'].map((lost) => site.app.sendTask(`wait_${lost}`, [door])))
    await until(async () => (await site.app.tasks.count({ statuses: ['STARTED'] })) === 3, 'the tasks to start')
    await pause(site, paused)
    await until(async () => (await site.app.tasks.findStale({ reasons: ['lost'] })).length === 3, 'the lease to run out')
    paused.signal('SIGCONT')
    await writeFile(door, '')
    for (const result of results) assert.equal(await result.get(SOON), 'late')
    for (const { id } of results) assert.deepEqual(await linesOf(site, id), [])
  })
})

describe('a worker that cannot renew its lease', () => {
  it('takes no work after a whole lease of that, and works again once it can', async () => {
    await using w = await openWorld({ now: Date.now, settings: { lease: 0.3 } })
    const task = w.app.task('quick', () => 'done')
    await using _ = working(w.app)
    await (await task.delay()).get(SOON)
    await refuse(w.database, { name: 'mute', when: 'BEFORE UPDATE', table: 'task_worker' })
    await sleep(400) // longer than the lease
    const result = await task.delay()
    const complaints = w.errors.length
    await until(() => w.errors.length >= complaints + 3, 'three more complaints')
    assert.equal(await result.state(), 'PENDING')
    if (!w.carrier) assert.deepEqual(await w.database.all('SELECT deliveries FROM task_message', []), [{ deliveries: 0 }])
    await allow(w.database, 'mute', 'task_worker')
    assert.equal(await result.get(SOON), 'done')
  })
})
