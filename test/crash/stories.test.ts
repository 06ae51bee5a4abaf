import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { chain, chord, group } from '../../src/lib/app/canvas.js'
import type { AsyncResult } from '../../src/lib/app/result.js'
import { Processes } from '../helpers/processes.js'
import { range, SOON } from '../helpers/sums.js'
import { until } from '../helpers/until.js'
import { openWorld, type World } from '../helpers/world.js'

/** A call of a task that only the workers' processes know. */
const call = (w: World, task: string, ...args: number[]) => w.app.signature<unknown>(task).clone(args)

const worker = (processes: Processes, w: World) =>
  processes.command(['worker', '--app', './test/fixtures/articles.mjs'], { ...w.env, TASKLEDGER_LEASE: '1' })

const article = (w: World, id: number, thumbnail = call(w, 'generate_thumbnail')) =>
  chain(call(w, 'process_article', id), thumbnail, call(w, 'notify_subscribers')).onError(
    w.app.signature({ task: 'notify_failure', options: { errback: true } }),
  )

/** What the last step says of the article that came through the others. */
function published(value: unknown): unknown[] {
  const { notified, article } = value as { notified: boolean; article: { id: number; thumbnail: string } }
  return [notified, article.id, article.thumbnail]
}

const errbacks = async (w: World) =>
  (await w.app.tasks.list({ tasks: ['notify_failure'] })).map(({ status, result }) => (status === 'SUCCESS' ? result : status))

describe('workers in processes of their own', function () {
  this.timeout(90_000)

  it('publish an article, alone and in bulk, and tell once of each that does not exist', async () => {
    await using w = await openWorld({ now: Date.now })
    await using processes = new Processes()
    for (const _ of [1, 2]) worker(processes, w)
    const one = await article(w, 7).applyAsync({ expires: 7200 })
    assert.deepEqual(published(await one.get(SOON)), [true, 7, 'generated'])
    const missing = await article(w, 1001).applyAsync({ expires: 7200 })
    await assert.rejects(missing.get(SOON), /Article 1001 not found/)
    const bulk = await group([1, 2, 1002, 3].map((id) => article(w, id))).applyAsync()
    const values = await bulk.get({ ...SOON, propagate: false })
    assert.deepEqual(
      values.map((value) => value instanceof Error),
      [false, false, true, false],
    )
    await until(async () => (await w.app.tasks.count({ statuses: ['PENDING', 'STARTED', 'RETRY'] })) === 0, 'everything to end')
    assert.deepEqual((await errbacks(w)).sort(), ['process_article: Article 1001 not found', 'process_article: Article 1002 not found'])
  })

  it('do what callbacks and the primitives say', async () => {
    await using w = await openWorld({ now: Date.now })
    await using processes = new Processes()
    for (const _ of [1, 2]) worker(processes, w)
    const get = async (sent: Promise<unknown>) => ((await sent) as AsyncResult).get(SOON)
    const sums = range(10).map((i) => call(w, 'add', i, i))
    assert.equal(await get(chain(call(w, 'multiply', 5, 5), call(w, 'add', 4), call(w, 'multiply', 8)).applyAsync()), 232)
    assert.equal(await get(chord(sums, call(w, 'tsum')).applyAsync()), 90)
    assert.deepEqual(
      await (await group(sums).applyAsync()).get(SOON),
      range(10).map((i) => 2 * i),
    )
    const linked = (await call(w, 'add', 5, 5)
      .link(call(w, 'add', 35))
      .applyAsync()) as AsyncResult
    await linked.get(SOON)
    const [callback] = await until(async () => {
      const children = await linked.children()
      return children.length === 1 && children
    }, 'the callback')
    assert.equal(await callback?.get(SOON), 45)
  })

  for (const late of [true, false]) {
    it(`killed in a step acked ${late ? 'late: it runs again, and the chain goes on' : 'early: it is lost, and goes on once it is sent again'}`, async () => {
      await using w = await openWorld({ now: Date.now })
      await using processes = new Processes()
      const door = join(w.folder, 'door')
      const thumbnail = w.app.signature<unknown>(late ? 'generate_thumbnail_late' : 'generate_thumbnail').clone([door])
      const first = worker(processes, w)
      const result = await article(w, 7, thumbnail).applyAsync()
      const step = result.parent?.id ?? ''
      await until(async () => (await w.app.tasks.get(step))?.status === 'STARTED', 'the second step to run')
      await first.kill()
      await writeFile(door, '')
      worker(processes, w)
      let last = result.id
      if (!late) {
        const lost = await until(async () => (await w.app.tasks.findStale({ reasons: ['lost'] }))[0], 'the step to be lost')
        assert.equal(lost.taskId, step)
        const [resent] = await w.app.tasks.retry({ ids: [step] })
        assert.equal(resent?.error, null)
        const copy = await until(async () => (await w.app.tasks.list({ tasks: ['notify_subscribers'] }))[0], 'the last step')
        last = copy.taskId
      }
      assert.deepEqual(published(await w.app.result(last).get(SOON)), [true, 7, 'generated'])
      assert.equal((await w.app.tasks.list({ tasks: ['notify_subscribers'] })).length, 1)
      assert.deepEqual(await errbacks(w), [])
    })
  }
})
