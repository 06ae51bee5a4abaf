import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { assertMessages, assertWaiting } from '../helpers/messages.js'
import { Processes, type Running } from '../helpers/processes.js'
import { runs, side } from '../helpers/side-effects.js'
import { until } from '../helpers/until.js'
import { openWorld, type World } from '../helpers/world.js'

/** The environment that gives a process this world's ledger. */
const environment = (w: World) => ({ ...w.env, TASKLEDGER_LEASE: '1' })

const APP = ['--app', './test/fixtures/app.mjs']
const startWorker = (processes: Processes, w: World, flags: readonly string[] = [], env: Readonly<Record<string, string>> = {}) =>
  processes.command(['worker', ...APP, ...flags], { ...environment(w), ...env })

/** The ids of the tasks that left a line, one for each execution that got as far. */
const executed = (w: World): string[] => runs(w).map(({ id }) => id)

const lostIds = async (w: World) => (await w.app.tasks.findStale({ reasons: ['lost'] })).map(({ taskId }) => taskId)

async function send(w: World, task: string, count: number): Promise<string[]> {
  const ids: string[] = []
  for (let i = 0; i < count; i++) ids.push((await w.app.sendTask(task, [side(w)])).id)
  return ids
}

describe('a worker killed in the middle of its work', () => {
  it('leaves the tasks it had acked early, and only those, to be listed as lost once its lease has run out', async () => {
    await using w = await openWorld({ now: Date.now })
    await using processes = new Processes()
    await send(w, 'note_early', 2)
    const early = await send(w, 'hold_early', 3)
    const [late] = await send(w, 'hold_late', 1)
    const waiting = await send(w, 'hold_early', 2)
    const worker = startWorker(processes, w, ['-c', '4'], { TASKLEDGER_LEASE: '60' })
    await until(() => executed(w).length === 6, 'two tasks to end and four to run')
    await worker.kill()
    assert.deepEqual(await lostIds(w), [])

    w.clock.advance(60_000)
    assert.deepEqual(await lostIds(w), early)
    const others = await w.app.tasks.findStale({ reasons: ['unclaimed'] })
    assert.deepEqual(new Set(others.map(({ taskId }) => taskId)), new Set([late, ...waiting]))
  })

  it('does not have its early-ack tasks run again', async () => {
    await using w = await openWorld({ now: Date.now })
    await using processes = new Processes()
    const [lost] = await send(w, 'hold_early', 1)
    const worker = startWorker(processes, w)
    await until(() => executed(w).length === 1, 'the task to run')
    await worker.kill()
    await until(async () => (await lostIds(w)).length === 1, 'the lease to run out')

    const next = startWorker(processes, w)
    const [after] = await send(w, 'note_early', 1)
    await w.app.result(after ?? '').get({ timeout: 10 })

    assert.deepEqual(executed(w), [lost, after])
    await next.kill()
  })

  it('has each of its late-ack tasks run again, none lost and none listed as lost', async () => {
    await using w = await openWorld({ now: Date.now })
    await using processes = new Processes()
    const ids = await send(w, 'hold_late', 3)
    const worker = startWorker(processes, w)
    await until(() => executed(w).length === 3, 'three tasks to run')
    await worker.kill()
    startWorker(processes, w)

    await until(async () => {
      assert.deepEqual(await lostIds(w), [])
      return (await w.app.tasks.count({ statuses: ['SUCCESS'] })) === 3
    }, 'three tasks to succeed')
    assert.deepEqual(executed(w).sort(), [...ids, ...ids].sort())
    for (const id of ids) assert.equal((await w.app.tasks.get(id))?.deliveries, 2)
  })
})

describe('a task that kills its worker', () => {
  it('fails after maxDeliveries, and lets the tasks behind it run', async () => {
    await using w = await openWorld({ now: Date.now })
    await using processes = new Processes()
    const [killer = ''] = await send(w, 'killer', 1)
    const [good = ''] = await send(w, 'note_late', 1)
    for (let delivery = 1; delivery <= 2; delivery++) {
      const worker = startWorker(processes, w, ['-c', '1'], { TASKLEDGER_MAX_DELIVERIES: '2' })
      assert.deepEqual(await worker.end(), { code: null, signal: 'SIGKILL' })
    }
    startWorker(processes, w, [], { TASKLEDGER_MAX_DELIVERIES: '2' })
    const error = await w.app.result(killer).get({ timeout: 10, propagate: false })
    assert.equal(String(error), 'WorkerLostError: delivered 2 times, and no worker lived to finish it')
    await w.app.result(good).get({ timeout: 10 })
    assert.equal(executed(w).filter((id) => id === killer).length, 2)
  })
})

describe('retries that wait', () => {
  it('survive the death of every worker', async () => {
    await using w = await openWorld({ now: Date.now })
    await using processes = new Processes()
    const results = await Promise.all(Array.from({ length: 5 }, () => w.app.sendTask('again', [side(w), 1])))
    const worker = startWorker(processes, w)
    await until(async () => (await w.app.tasks.count({ statuses: ['RETRY'] })) === 5, 'the retries to wait')
    await assertMessages(w, 0)
    await worker.kill()

    startWorker(processes, w)
    for (const result of results) await result.get({ timeout: 10 })
    const ids = results.map(({ id }) => id)
    assert.deepEqual(executed(w).sort(), [...ids, ...ids].sort())
    assert.deepEqual(await lostIds(w), [])
  })
})

const door = (w: World) => join(w.folder, 'door')

/** Tells a worker to stop, and lets its tasks end once it has heard that. */
async function stopThroughTheDoor(worker: Running, w: World): Promise<void> {
  worker.signal('SIGTERM')
  await worker.said('Stopping')
  await writeFile(door(w), '')
  assert.deepEqual(await worker.end(), { code: 0, signal: null })
}

describe('a worker told to stop', () => {
  it('by SIGTERM ends what it runs, takes nothing new and exits 0', async () => {
    await using w = await openWorld({ now: Date.now })
    await using processes = new Processes()
    const running = [await w.app.sendTask('wait', [side(w), door(w)]), await w.app.sendTask('wait', [side(w), door(w)])]
    const worker = startWorker(processes, w, ['-c', '2'])
    await worker.said(' started', 2)
    const [waiting = ''] = await send(w, 'note_early', 1)
    await stopThroughTheDoor(worker, w)
    for (const result of running) assert.equal(await result.state(), 'SUCCESS')
    assert.equal(await w.app.result(waiting).state(), 'PENDING')
  })

  it('by SIGTERM keeps nothing back: what waits and what is due later is run by the next one, once', async () => {
    await using w = await openWorld({ now: Date.now })
    await using processes = new Processes()
    const long = { TASKLEDGER_LEASE: '600' } // far longer than the test: nothing is freed by a lease that runs out
    const running = await w.app.sendTask('wait', [side(w), door(w)])
    const waiting = [...(await send(w, 'note_early', 2)), ...(await send(w, 'note_late', 2))]
    const scheduled = await w.app.sendTask('note_early', [side(w)], { countdown: 3600 })
    const worker = startWorker(processes, w, ['-c', '1'], long)
    await worker.said(' started')
    await stopThroughTheDoor(worker, w)
    assert.deepEqual([await running.state(), await scheduled.state()], ['SUCCESS', 'SCHEDULED'])
    await assertWaiting(w, waiting.length)
    assert.deepEqual(
      await w.database.all('SELECT task_id, deliveries, held_until FROM task_message ORDER BY id', []),
      w.carrier ? [] : waiting.map((task_id) => ({ task_id, deliveries: 0, held_until: null })),
    )

    startWorker(processes, w, [], long)
    for (const id of waiting) await w.app.result(id).get({ timeout: 10 })
    await w.database.run('UPDATE task_result SET eta = ? WHERE task_id = ?', [Date.now(), scheduled.id]) // an hour later
    await scheduled.get({ timeout: 10 })
    const { scheduledId } = (await w.app.tasks.get(scheduled.id)) ?? {}
    assert.deepEqual(executed(w).sort(), [running.id, ...waiting, scheduledId].sort())
  })

  it('a second time gives its late-ack work back at once, and another worker runs it', async () => {
    await using w = await openWorld({ now: Date.now })
    await using processes = new Processes()
    const long = { TASKLEDGER_LEASE: '600' } // far longer than the test: only a message given back can run again
    const [id] = await send(w, 'hold_late', 1)
    const worker = startWorker(processes, w, ['-c', '1'], long)
    await until(() => executed(w).length === 1, 'the task to run')
    worker.signal('SIGTERM')
    await worker.said('Stopping')
    worker.signal('SIGINT')
    assert.deepEqual(await worker.end(), { code: 130, signal: null })

    startWorker(processes, w, [], long)
    assert.equal(await w.app.result(id ?? '').get({ timeout: 10 }), null)
    assert.deepEqual(executed(w), [id, id])
  })
})

describe('a program that closes its app', () => {
  it('ends by itself', async () => {
    await using w = await openWorld({ now: Date.now })
    await using processes = new Processes()
    const program = processes.fixture('closes.mjs', [side(w)], environment(w))

    assert.deepEqual(await program.end(), { code: 0, signal: null })
    assert.deepEqual([program.stdout.sort(), program.stderr], [['closed', 'the ledger is closed'], []])
  })
})
