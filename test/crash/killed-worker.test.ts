import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Processes } from '../helpers/processes.js'
import { until } from '../helpers/until.js'
import { openWorld, type World } from '../helpers/world.js'

const LEASE = 0.5

/** The file the fixture's tasks leave their lines in, and the environment that gives a process this world's ledger. */
const side = (w: World) => join(w.folder, 'side-effects')
const environment = (w: World, lease = LEASE) => ({ TASKLEDGER_DATABASE: w.url, TASKLEDGER_LEASE: String(lease) })

/** The ids of the tasks that left a line, one for each execution that got as far. */
async function executed(w: World): Promise<string[]> {
  const text = await readFile(side(w), 'utf8').catch(() => '')
  return text.split('\n').flatMap((line) => line.split(' ')[0] || [])
}

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
    const worker = processes.start('worker.mjs', [JSON.stringify({ concurrency: 4 })], environment(w))
    await until(async () => (await executed(w)).length === 6, 'two tasks to end and four to run')

    assert.deepEqual(await lostIds(w), [])
    await worker.kill()

    await until(async () => (await lostIds(w)).length >= 3, 'the leases to run out')
    assert.deepEqual(await lostIds(w), early)
    const others = await w.app.tasks.findStale({ reasons: ['unclaimed'] })
    assert.deepEqual(new Set(others.map(({ taskId }) => taskId)), new Set([late, ...waiting]))
  })

  it('does not have its early-ack tasks run again', async () => {
    await using w = await openWorld({ now: Date.now })
    await using processes = new Processes()
    const [lost] = await send(w, 'hold_early', 1)
    const worker = processes.start('worker.mjs', [], environment(w))
    await worker.printed('started')
    await worker.kill()
    await until(async () => (await lostIds(w)).length === 1, 'the lease to run out')

    const next = processes.start('worker.mjs', [], environment(w))
    const [after] = await send(w, 'note_early', 1)
    await w.app.result(after ?? '').get({ timeout: 10 })

    assert.deepEqual(await executed(w), [lost, after])
    await next.kill()
  })

  it('has each of its late-ack tasks run again, none lost and none listed as lost', async () => {
    await using w = await openWorld({ now: Date.now })
    await using processes = new Processes()
    const ids = await send(w, 'hold_late', 3)
    const worker = processes.start('worker.mjs', [], environment(w))
    await until(async () => (await executed(w)).length === 3, 'three tasks to run')
    await worker.kill()
    processes.start('worker.mjs', [], environment(w))

    await until(async () => {
      assert.deepEqual(await lostIds(w), [])
      return (await w.app.tasks.count({ statuses: ['SUCCESS'] })) === 3
    }, 'three tasks to succeed')
    assert.deepEqual((await executed(w)).sort(), [...ids, ...ids].sort())
    for (const id of ids) assert.equal((await w.app.tasks.get(id))?.deliveries, 2)
  })
})

describe('a worker told to stop', () => {
  it('by SIGTERM ends what it runs, takes nothing new and exits 0', async () => {
    await using w = await openWorld({ now: Date.now })
    await using processes = new Processes()
    const running = [await w.app.sendTask('slow', [side(w), 0.7]), await w.app.sendTask('slow', [side(w), 0.7])]
    const worker = processes.start('worker.mjs', [JSON.stringify({ concurrency: 2 })], environment(w))
    await worker.printed('started', 2)
    const waiting = await w.app.sendTask('slow', [side(w), 0])
    worker.signal('SIGTERM')

    assert.deepEqual(await worker.end(), { code: 0, signal: null })
    for (const result of running) assert.equal(await result.state(), 'SUCCESS')
    assert.equal(await waiting.state(), 'PENDING')
  })

  it('a second time gives its late-ack work back at once, and another worker runs it', async () => {
    await using w = await openWorld({ now: Date.now })
    await using processes = new Processes()
    const lease = 600 // far longer than the test: only a message given back can run again
    const [id] = await send(w, 'hold_late', 1)
    const worker = processes.start('worker.mjs', [JSON.stringify({ concurrency: 1 })], environment(w, lease))
    await until(async () => (await executed(w)).length === 1, 'the task to run')
    worker.signal('SIGTERM')
    worker.signal('SIGINT')
    assert.equal((await worker.end()).code, 0)

    processes.start('worker.mjs', [], environment(w, lease))
    assert.equal(await w.app.result(id ?? '').get({ timeout: 10 }), null)
    assert.deepEqual(await executed(w), [id, id])
  })
})

describe('a program that closes its app', () => {
  it('ends by itself', async () => {
    await using w = await openWorld({ now: Date.now })
    await using processes = new Processes()
    const program = processes.start('closes.mjs', [side(w)], environment(w))

    assert.deepEqual(await program.end(), { code: 0, signal: null })
    assert.deepEqual(program.lines, ['closed'])
    assert.equal(program.stderr, '')
  })
})
