import assert from 'node:assert/strict'
import { alive, childrenOf } from '../helpers/alive.js'
import { assertMessages } from '../helpers/messages.js'
import { runs, side } from '../helpers/side-effects.js'
import { until } from '../helpers/until.js'
import { pooled } from '../helpers/working.js'
import { openWorld, type World } from '../helpers/world.js'

const SOON = { timeout: 15 } as const
const UNTHROWN = { timeout: 15, propagate: false } as const

const open = (settings = {}) => openWorld({ now: Date.now, settings })
const kinds = async (w: World, id: string) => ((await w.app.tasks.history(id))?.attempts ?? []).map(({ kind }) => kind)

describe('a child of the pool', () => {
  for (const [name, how] of [
    ['die', 'signal SIGKILL'],
    ['die_late', 'signal SIGKILL'],
    ['unheard', 'exit code 1'],
    ['exit', 'exit code 7'],
  ] as const) {
    it(`that ends is replaced, and its task fails as WorkerLostError, run once: ${name}`, async () => {
      await using w = await open()
      await using _ = await pooled(w.app)
      const before = await (await w.app.sendTask('pid')).get(SOON)
      const result = await w.app.sendTask(name, name === 'exit' ? [7] : [side(w)])
      assert.equal(String(await result.get(UNTHROWN)), `WorkerLostError: the process that ran the task ended early: ${how}`)
      assert.deepEqual([await result.state(), await kinds(w, result.id)], ['FAILURE', ['lost']])
      await assertMessages(w, 0)
      const after = await (await w.app.sendTask('pid')).get(SOON)
      assert.notEqual(after, before)
      if (name.startsWith('die')) assert.equal(runs(w).length, 1)
    })
  }

  it('that is killed from outside is noticed at once, though the lease is long', async () => {
    await using w = await open({ lease: 600 })
    await using _ = await pooled(w.app)
    const result = await w.app.sendTask('hold', [side(w)])
    const [run] = await until(() => runs(w).length === 1 && runs(w), 'the body to run')
    process.kill(run?.number ?? 0, 'SIGKILL')
    await result.get(UNTHROWN)
    assert.equal(await result.state(), 'FAILURE')
  })

  it('that is killed while idle is replaced', async () => {
    await using w = await open()
    await using _ = await pooled(w.app)
    const pid = Number(await (await w.app.sendTask('pid')).get(SOON))
    process.kill(pid, 'SIGKILL')
    await until(() => !alive(pid), 'the child to end')
    await until(() => childrenOf(process.pid).length === 1, 'another in its place')
    assert.notEqual(await (await w.app.sendTask('pid')).get(SOON), pid)
  })

  it('that dies with a task of acksLate and rejectOnWorkerLost has it run again', async () => {
    await using w = await open()
    const told: string[] = []
    for (const kind of ['requeued', 'failed', 'succeeded'] as const) w.app.on(kind, () => told.push(kind))
    await using _ = await pooled(w.app)
    const result = await w.app.sendTask('die_once')
    assert.equal(await result.get(SOON), 2)
    assert.deepEqual(await kinds(w, result.id), ['lost'])
    await until(() => told.length === 2, 'the hooks')
    assert.deepEqual(told, ['requeued', 'succeeded'])
  })

  it('that such a task kills each time has it fail after maxDeliveries, and the tasks behind it run', async () => {
    await using w = await open({ maxDeliveries: 2 })
    await using _ = await pooled(w.app)
    const result = await w.app.sendTask('die_again', [side(w)])
    const good = await w.app.sendTask('pid')
    assert.equal(String(await result.get(UNTHROWN)), 'WorkerLostError: delivered 2 times, and no worker lived to finish it')
    assert.equal(runs(w).length, 2)
    assert.equal(await result.state(), 'FAILURE')
    await good.get(SOON)
    await assertMessages(w, 0)
  })

  it('is replaced after maxTasksPerChild', async () => {
    await using w = await open()
    await using _ = await pooled(w.app, { maxTasksPerChild: 2 })
    const pids: unknown[] = []
    for (let n = 0; n < 5; n++) pids.push(await (await w.app.sendTask('pid')).get(SOON))
    assert.deepEqual([pids[0] === pids[1], pids[2] === pids[3], new Set(pids).size], [true, true, 3])
  })

  it('is replaced once it holds more than maxMemoryPerChild KiB, and not before its task has ended', async () => {
    await using w = await open()
    await using _ = await pooled(w.app, { maxMemoryPerChild: 250 * 1024 })
    const eat = async (mebibytes: number) => (await w.app.sendTask('eat', [mebibytes])).get(SOON)
    const first = await eat(1)
    assert.equal(await eat(300), first)
    assert.notEqual(await eat(1), first)
  })
})
