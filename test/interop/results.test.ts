import assert from 'node:assert/strict'
import { chain } from '../../src/lib/app/canvas.js'
import { needs } from '../helpers/services.js'
import { declareNodeTasks, openSharedSite, type SharedSite } from '../helpers/shared-site.js'
import { type Working, working } from '../helpers/working.js'

describe('a Celery client that has Redis for results', () => {
  let w: SharedSite
  let worker: Working

  before(async function () {
    this.timeout(60_000)
    await needs(this, 'RabbitMQ', 'Redis', 'Celery')
    w = await openSharedSite({ client: true, worker: true, results: 'redis://127.0.0.1:6379/9' })
    declareNodeTasks(w.app)
    w.app.task('node.fail', (): never => {
      throw Object.assign(new Error('no'), { name: 'ValueError' })
    })
    worker = working(w.app)
  })
  after(async function () {
    this.timeout(60_000)
    await worker?.[Symbol.asyncDispose]()
    await w?.[Symbol.asyncDispose]()
  })

  /** What a call of the client's comes to, by its own `get`. */
  const got = (call: string) => w.value(`${call}.get(timeout=15)`)

  it('gets what a chain with steps on both sides comes to, whichever ends it', async () => {
    assert.equal(await got('chain(py.add.s(1, 1), node.add.s(10), py.multiply.s(2)).apply_async()'), 24)
    assert.equal(await got('chain(node.add.s(1, 1), py.add.s(10), node.add.s(1)).apply_async()'), 13)
    assert.equal(await got('chain(node.add.s(1, 1), py.add.s(10), node.add.s(1)).apply_async().parent'), 12)
  })

  it('gets what a chord with members on both sides comes to, whichever runs its body', async () => {
    for (const body of ['py.tsum.s()', 'node.tsum.s()']) {
      assert.equal(await got(`chord([py.add.s(1, 1), node.add.s(2, 2), py.add.s(3, 3), node.add.s(4, 4)])(${body})`), 20)
    }
    assert.equal(await got('chain(py.add.s(1, 1), group(py.add.s(1), node.add.s(2)), node.tsum.s(), py.add.s(1)).apply_async()'), 8)
    assert.equal(
      await got('chain(node.add.s(1, 1), group(node.add.s(1), chain(py.add.s(1), node.add.s(1))), py.tsum.s()).apply_async()'),
      7,
    )
  })

  it('gets the error of the other side’s task, also at the end of a chain and in a chord', async () => {
    await assert.rejects(got('chain(py.add.s(1, 1), node.fail.si(), py.add.s(1)).apply_async()'), /ValueError\('no'\)/)
    await assert.rejects(got('chord([py.add.s(1, 1), node.fail.s()])(py.tsum.s())'), /ValueError\('no'\)/)
    await assert.rejects(got('chord([node.add.s(1, 1), py.fail.s()])(node.tsum.s())'), /ValueError\('boom'\)/)
  })

  it('finds the results of what Node has sent, too', async () => {
    const call = (task: string, ...args: readonly unknown[]) => w.app.signature<number>(task).clone(args as number[])
    const result = await chain(call('node.add', 2, 2), call('py.add', 1), call('node.add', 1)).applyAsync()
    assert.equal(await result.get({ timeout: 15 }), 6)
    for (const [id, value] of [
      [result.parent?.parent?.id, 4],
      [result.parent?.id, 5],
      [result.id, 6],
    ] as const) {
      assert.equal(await got(`app.AsyncResult('${id}')`), value)
    }
  })
})
