import assert from 'node:assert/strict'
import { chain, chord } from '../../src/lib/app/canvas.js'
import { SOON } from '../helpers/sums.js'
import { pooled } from '../helpers/working.js'
import { openWorld } from '../helpers/world.js'

describe('a workflow in a pool of processes', function () {
  this.timeout(60_000)

  it('runs, replaces its tasks, grows, and is sent from there', async () => {
    await using w = await openWorld({ now: Date.now })
    await using _ = await pooled(w.app)
    const call = (name: string) => w.app.signature<number>(name)
    const replaced = await chain(call('replaces_itself').clone([1]), call('add').clone([5])).applyAsync()
    assert.deepEqual([await replaced.get(SOON), await replaced.parent?.get(SOON)], [17, 12])
    const grown = await chord([call('adds_one').clone([1]), call('add').clone([1, 1])], call('celery.accumulate')).applyAsync()
    assert.deepEqual(await grown.get(SOON), [[1, 2, 101]])
    const mapped = w.app.signature<number[]>({
      task: 'celery.starmap',
      kwargs: {
        task: { task: 'add' },
        it: [
          [1, 2],
          [3, 4],
        ],
      },
    })
    assert.deepEqual(await (await mapped.applyAsync())?.get(SOON), [3, 7])
    const outer = await call('sends').applyAsync({ args: [1] })
    const inner = w.app.result(String(await outer.get(SOON)))
    assert.equal(await inner.get(SOON), 3)
    assert.equal((await w.app.tasks.get(inner.id))?.rootId, outer.id)
  })
})
