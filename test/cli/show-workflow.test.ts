import assert from 'node:assert/strict'
import { chain, chord, group } from '../../src/lib/app/canvas.js'
import { openSite, type Site } from '../helpers/site.js'
import { declareSums, SOON } from '../helpers/sums.js'
import { working } from '../helpers/working.js'

/** The workflow as `show` draws it, without ids. */
async function drawn(site: Site, id: string): Promise<string[]> {
  const { stdout, stderr, code } = await site.run(['show', id])
  assert.deepEqual([stderr, code], ['', 0])
  const lines = stdout.split('\n')
  const below = lines.slice(lines.indexOf('workflow') + 1).filter(Boolean)
  return below.map((line) => line.replaceAll(/ [0-9a-f]{8}-[0-9a-f-]{27}/g, ''))
}

describe('show of a part of a workflow', function () {
  this.timeout(30_000)

  it('draws the tree with the status of each task, and what waits', async () => {
    await using site = await openSite()
    const { add, multiply } = declareSums(site.app)
    const result = await chain(add.s(1, 1), multiply.s(2), add.s(4)).applyAsync()
    const first = result.parent?.parent?.id ?? ''
    assert.deepEqual(await drawn(site, first), ['  └─ PENDING add  <', '     ├─ waits multiply', '     └─ waits add'])
    await using _ = working(site.app)
    await result.get(SOON)
    assert.deepEqual(await drawn(site, result.id), ['  └─ SUCCESS add', '     └─ SUCCESS multiply', '        └─ SUCCESS add  <'])
  })

  it('draws a chord: its members under their group, its body after it', async () => {
    await using site = await openSite()
    const { add, tsum } = declareSums(site.app)
    const result = await chord([add.s(1, 1), chain(add.s(2, 2), add.s(1))], tsum.s()).applyAsync()
    const waiting = (await site.app.tasks.list())[0]?.taskId ?? ''
    assert.deepEqual(await drawn(site, waiting), [
      '  └─ group of 2, 0 ended',
      '     ├─ PENDING add',
      '     ├─ PENDING add  <',
      '     │  └─ waits add',
      '     └─ waits tsum',
    ])
    await using _ = working(site.app)
    assert.equal(await result.get(SOON), 7)
    assert.deepEqual(await drawn(site, result.id), [
      '  ├─ group of 2, 2 ended',
      '  │  ├─ SUCCESS add',
      '  │  └─ SUCCESS add',
      '  │     └─ SUCCESS add',
      '  └─ SUCCESS tsum  <',
    ])
  })

  it('draws the groups that only tasks which wait are to count in', async () => {
    await using site = await openSite()
    const { add, tsum } = declareSums(site.app)
    await chord([chord([chain(add.s(2, 2), add.s(1))], tsum.s())], tsum.s()).applyAsync()
    const waiting = (await site.app.tasks.list())[0]?.taskId ?? ''
    assert.deepEqual(await drawn(site, waiting), [
      '  ├─ group of 1, 0 ended',
      '  │  └─ waits tsum',
      '  └─ group of 1, 0 ended',
      '     ├─ PENDING add  <',
      '     │  └─ waits add',
      '     └─ waits tsum',
    ])
  })

  it('counts what would fill the screen, and tells a program all of it', async () => {
    await using site = await openSite()
    const { add } = declareSums(site.app)
    const { results } = await group(Array.from({ length: 30 }, (_, i) => add.s(i, i))).applyAsync()
    const lines = await drawn(site, results[0]?.id ?? '')
    assert.deepEqual([lines.length, lines[0], lines.at(-1)], [22, '  └─ group of 30, 0 ended', '     └─ … and 10 more'])
    const { tasks } = await site.json(['show', results[0]?.id ?? ''])
    assert.deepEqual([tasks[0].tree.tasks.length, tasks[0].tree.groups.length], [30, 1])
  })
})
