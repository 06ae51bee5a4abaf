import assert from 'node:assert/strict'
import { Lookout } from '../../src/lib/app/lookout.js'
import { standingsOf } from '../../src/lib/ledger/standing.js'
import { openWorld } from '../helpers/world.js'

describe('a program that waits for many tasks', () => {
  it('looks for all of them in one statement', async () => {
    await using w = await openWorld()
    const add = w.app.task('add', (x: number, y: number) => x + y)
    const sent = await Promise.all(Array.from({ length: 300 }, (_, i) => add.delay(i, 1)))
    const asked: (readonly string[])[] = []
    const lookout = new Lookout((ids) => {
      asked.push(ids)
      return standingsOf(w.database, ids)
    })

    const looks = await Promise.all(sent.map(({ id }) => lookout.standingsOf([id])))

    assert.deepEqual(
      sent.map(({ id }, i) => looks[i]?.get(id)?.status),
      sent.map(() => 'PENDING'),
    )
    assert.deepEqual(
      asked.map((ids) => ids.length),
      [300],
    )
    const further = [lookout.standingsOf(['unknown'])]
    await new Promise(setImmediate)
    await new Promise(setImmediate)
    further.push(...sent.map(({ id }) => lookout.standingsOf([id])))
    await Promise.all(further)
    assert.deepEqual(asked.map((ids) => ids.length).slice(1), [1, 300])
  })

  it('goes on after a look that failed', async () => {
    await using w = await openWorld()
    let failing = true
    const lookout = new Lookout((ids) => (failing ? Promise.reject(new Error('away')) : standingsOf(w.database, ids)))
    await assert.rejects(lookout.standingsOf(['a']), /^Error: away$/)
    failing = false
    assert.equal((await lookout.standingsOf(['a'])).size, 0)
  })

  it('gets each result, also of a task that stands in the place of another', async () => {
    await using w = await openWorld()
    const add = w.app.task('add', (x: number, y: number) => x + y)
    const scheduled = await add.applyAsync([1, 1], { countdown: 1 })
    w.clock.advance(1001)
    const [sent] = await w.sender.sendDue()
    const worker = w.app.worker()
    const running = worker.run()
    const direct = await Promise.all(Array.from({ length: 20 }, (_, i) => add.delay(i, i)))
    const all = [...direct, scheduled, w.app.result(sent?.newTaskId ?? '')]
    assert.deepEqual(await Promise.all(all.map((result) => result.get())), [...direct.map((_, i) => 2 * i), 2, 2])
    worker.stop()
    await running
  })
})
