import assert from 'node:assert/strict'
import { chain, chord, group } from '../../src/lib/app/canvas.js'
import { needs } from '../helpers/services.js'
import { declareNodeTasks, openSharedSite, type SharedSite } from '../helpers/shared-site.js'
import { until } from '../helpers/until.js'
import { type Working, working } from '../helpers/working.js'

describe('a workflow with Celery workers and Node workers', () => {
  let w: SharedSite
  let worker: Working
  let errbacks: readonly (readonly unknown[])[]

  before(async function () {
    this.timeout(60_000)
    await needs(this, 'RabbitMQ', 'Celery')
    w = await openSharedSite({ client: true, worker: true })
    w.app.task('node.fail', (): never => {
      throw new RangeError('no')
    })
    w.app.task({ name: 'node.flaky', bind: true, maxRetries: 3 }, (task, x: number) => {
      if (task.request.retries < 1) throw task.retry({ countdown: 0.05 })
      return x
    })
    errbacks = declareNodeTasks(w.app)
    worker = working(w.app)
  })
  after(async function () {
    this.timeout(60_000)
    await worker?.[Symbol.asyncDispose]()
    await w?.[Symbol.asyncDispose]()
  })

  const call = (task: string, ...args: readonly unknown[]) => w.app.signature<number>(task).clone(args as number[])

  const errbackOf = (id: string | undefined) => until(() => errbacks.find(([first]) => first === id), `an errback for ${id}`)

  it('alternates between them, begun in Node', async () => {
    const result = await chain(call('py.add', 2, 2), call('node.add', 10), call('py.multiply', 2), call('node.add', 1)).applyAsync()
    assert.equal(await result.get({ timeout: 15 }), 29)
    const third = result.parent
    const second = third?.parent
    const first = second?.parent
    assert.deepEqual(
      (await w.ran(first?.id ?? '', 2)).map(({ id, parent, result: value }) => [id, parent, value]),
      [
        [first?.id, null, 4],
        [third?.id, second?.id, 28],
      ],
    )
    assert.deepEqual(await w.statuses(first?.id, second?.id, third?.id, result.id), ['PENDING', 'SUCCESS', 'PENDING', 'SUCCESS'])
    const rows = await Promise.all([second, result].map((step) => w.row(step?.id ?? '')))
    assert.deepEqual(
      rows.map((row) => [row?.rootId, row?.parentId]),
      [
        [first?.id, first?.id],
        [first?.id, third?.id],
      ],
    )
  })

  it('alternates between them, begun in Python by either side’s task', async () => {
    const [a, b, c = ''] = await w.python('chain(py.add.s(1, 1), node.add.s(10), py.multiply.s(2)).apply_async()')
    assert.equal((await w.ran(c))[0]?.result, 24)
    assert.deepEqual(await w.statuses(a, b, c), ['no row', 'SUCCESS', 'PENDING'])
    const [d, e, f = ''] = await w.python('chain(node.add.s(1, 1), py.add.s(10), node.add.s(y=2)).apply_async()')
    assert.equal((await w.ended(f)).result, 14)
    assert.deepEqual(await w.statuses(d, e, f), ['SUCCESS', 'PENDING', 'SUCCESS'])
  })

  it('calls the errbacks of the other side', async () => {
    const failing = await call('py.fail').applyAsync({ linkError: call('node.on_error') })
    await errbackOf(failing?.id ?? '')
    const [failed = ''] = await w.python('node.fail.apply_async((), link_error=py.on_error.s())')
    const runs = await w.ran(failed)
    assert.deepEqual([runs[0]?.task, runs[0]?.args, runs[0]?.parent], ['py.on_error', [failed], failed])
  })

  it('ends where a step fails, on either side', async () => {
    const inCelery = await chain(call('node.add', 1, 1), call('py.fail'), call('node.add', 1))
      .onError(call('node.on_error'))
      .applyAsync()
    const errback = await errbackOf(inCelery.parent?.id)
    assert.deepEqual(errback, [inCelery.parent?.id])
    assert.deepEqual(await w.statuses(inCelery.parent?.parent?.id, inCelery.parent?.id, inCelery.id), ['SUCCESS', 'PENDING', 'no row'])
    const [a, b = '', c = ''] = await w.python('chain(py.add.s(1, 1), node.fail.s(), py.add.s(1)).apply_async(link_error=py.on_error.s())')
    await w.ended(b)
    const runs = await w.ran(a ?? '', 2)
    assert.deepEqual(
      runs.map(({ task }) => task),
      ['py.add', 'py.on_error'],
    )
    assert.deepEqual(await w.statuses(a, b, c), ['no row', 'FAILURE', 'FAILURE'])
  })

  it('sends callbacks across, both ways', async () => {
    const first = await call('py.add', 2, 2).applyAsync({ link: call('node.add', 5) })
    const linked = await until(async () => (await w.app.tasks.list()).find(({ parentId }) => parentId === first?.id), 'the callback')
    assert.equal((await w.ended(linked.taskId)).result, 9)
    const [second = ''] = await w.python('node.add.apply_async((3, 3), link=py.multiply.s(3))')
    assert.equal((await w.ran(second))[0]?.result, 18)
  })

  it('goes on after a retry on either side, and after a countdown between them', async () => {
    const result = await chain(
      call('node.flaky', 3),
      call('py.flaky'),
      call('node.add', 1).set({ countdown: 0.2 }),
      call('py.add', 1),
    ).applyAsync()
    const runs = await w.ran(result.id)
    assert.equal(runs[0]?.result, 5)
  })

  it('has groups with members on both sides', async () => {
    const result = await group(call('py.add', 1, 1), call('node.add', 2, 2)).applyAsync()
    const [inCelery, here] = result.results
    assert.equal((await w.ran(inCelery?.id ?? ''))[0]?.group, result.id)
    assert.equal((await w.ended(here?.id ?? '')).groupId, result.id)
  })

  it('has a chord’s body in Celery after a header in Node', async () => {
    const result = await chord([call('node.add', 1, 1), call('node.add', 2, 2)], call('py.tsum') as never).applyAsync()
    const [run] = await w.ran(result?.id ?? '')
    assert.deepEqual([run?.args, run?.result], [[[2, 4]], 6])
  })

  it('has a chord’s header in both, when each member of it ends in Node', async () => {
    const member = (n: number) => chain(call('py.add', n, n), call('node.add', 1))
    const result = await chord([member(1), call('node.add', 0, 0), member(2)], call('node.tsum') as never).applyAsync()
    assert.equal(await result?.get({ timeout: 15 }), 8)
  })

  it('is not revoked for a step that expired after Celery had run it, as what follows it tells', async () => {
    const steps = [call('py.add', 1, 1).set({ expires: 1 }), call('node.add', 1)] as const
    const result = await chain(...steps)
      .onError(call('node.on_error'))
      .applyAsync()
    assert.equal(await result.get({ timeout: 15 }), 3)
    const gone = await w.app.sendTask('py.add', [], { queue: 'nobody', expires: 1 })
    assert.equal((await w.ended(gone.id)).status, 'REVOKED') // by a sender, which has seen the chain, too
    assert.deepEqual(await w.statuses(result.parent?.id, result.id), ['PENDING', 'SUCCESS'])
    assert.ok(!errbacks.some(([id]) => id === result.parent?.id))
  })
})
