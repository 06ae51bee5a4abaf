import assert from 'node:assert/strict'
import { chain, group } from '../../src/lib/app/canvas.js'
import { needs } from '../helpers/services.js'
import { openSharedSite, type SharedSite } from '../helpers/shared-site.js'
import { until } from '../helpers/until.js'

/** What a task of Celery's is known as here: a name and a signature. Its body is elsewhere. */
const elsewhere = (): never => {
  throw new Error('this runs in Celery')
}

describe('a Celery worker', () => {
  let w: SharedSite
  before(async function () {
    this.timeout(60_000)
    await needs(this, 'RabbitMQ', 'Celery')
    w = await openSharedSite({ worker: true })
  })
  after(async function () {
    this.timeout(60_000)
    await w?.[Symbol.asyncDispose]()
  })

  const call = (task: string, ...args: readonly unknown[]) => w.app.signature<number>(`py.${task}`).clone(args as number[])

  it('runs what Node publishes by name, whose row stays PENDING: nobody here hears how it ended', async () => {
    const result = await w.app.sendTask('py.add', [2, 3])
    const [run] = await w.ran(result.id)
    const { task, args, kwargs, queue, root, parent, retries, eta, expires, group: of } = run ?? {}
    assert.deepEqual(
      { task, args, kwargs, queue, result: run?.result },
      { task: 'py.add', args: [2, 3], kwargs: {}, queue: 'python', result: 5 },
    )
    assert.deepEqual(
      { root, parent, retries, eta, expires, of },
      { root: result.id, parent: null, retries: 0, eta: null, expires: null, of: null },
    )
    const row = await w.row(result.id)
    assert.deepEqual([row?.status, row?.publishedAt instanceof Date, row?.deliveries], ['PENDING', true, 0])
  })

  it('gets arguments as they were, by place and by name', async () => {
    const odd = { 'é€😀': [1.5, -7, 2 ** 40, true, null, { '': 'NaN "quoted" \\ and\nnew' }] }
    const result = await w.app.sendTask('py.echo', [odd], { kwargs: { other: [[], {}] } })
    const [run] = await w.ran(result.id)
    assert.deepEqual([run?.args, run?.kwargs, run?.result], [[odd], { other: [[], {}] }, [[odd], { other: [[], {}] }]])
  })

  it('gets time limits, headers, priority, expiry and whether the result is ignored', async () => {
    const expires = new Date(Date.now() + 3_600_000)
    const headers = { tenant: { name: 'acme', n: 300, list: [128, -129, 70_000, 5_000_000_000, 0.5] } }
    const how = { timeLimit: 300, softTimeLimit: 240, headers, priority: 7, expires, ignoreResult: true }
    const result = await w.app.sendTask('py.add', [1, 1], how)
    const [run] = await w.ran(result.id)
    assert.deepEqual([run?.timelimit, run?.tenant, run?.priority, run?.ignore_result], [[300, 240], headers.tenant, 7, true])
    assert.equal(Date.parse(run?.expires ?? ''), expires.getTime())
  })

  it('gets a task with an eta when that has come, and no eta: it waits as a row, in nobody’s memory', async () => {
    const result = await w.app.sendTask('py.add', [1, 2], { countdown: 0.5 })
    assert.equal((await w.row(result.id))?.status, 'SCHEDULED')
    const sent = await until(async () => (await w.app.tasks.sendScheduled()).find(({ taskId }) => taskId === result.id), 'its eta')
    const [run] = await w.ran(sent.newTaskId ?? '')
    assert.deepEqual([run?.result, run?.eta], [3, null])
    assert.deepEqual([(await w.row(result.id))?.status, (await w.row(run?.id ?? ''))?.status], ['SCHEDULED_SENT', 'PENDING'])
  })

  it('never gets what has expired in its queue: RabbitMQ drops it, and the row says so a lease later', async () => {
    const result = await w.app.sendTask('py.add', [], { queue: 'nobody', expires: 0.1 })
    await until(async () => (await w.app.tasks.sendScheduled()).some(({ taskId }) => taskId === result.id), 'a lease')
    const row = await w.row(result.id)
    assert.deepEqual([row?.status, row?.errorMessage], ['REVOKED', 'expired'])
  })

  it('sends the callbacks', async () => {
    const link = [call('multiply', 10), call('add', 1, 1).set({ immutable: true })]
    const result = await w.app.sendTask('py.add', [2, 2], { link })
    const runs = await w.ran(result.id, 3)
    assert.deepEqual(
      new Set(runs.map(({ task, args }) => [task, ...args].join(' '))),
      new Set(['py.add 2 2', 'py.multiply 4 10', 'py.add 1 1']),
    )
    assert.ok(runs.slice(1).every(({ parent }) => parent === result.id))
  })

  it('sends an errback of the old style, with the id of what has failed', async () => {
    const result = await w.app.sendTask('py.fail', ['why'], { linkError: call('on_error') })
    const [failed, errback] = await w.ran(result.id, 2)
    assert.deepEqual([failed?.raised, errback?.task, errback?.args, errback?.parent], ['ValueError', 'py.on_error', [result.id], result.id])
  })

  it('sends the next steps of a chain under the ids that Node chose', async () => {
    const result = await chain(call('add', 2, 2), call('multiply', 10), call('add', 1)).applyAsync({ expires: 60 })
    const first = result.parent?.parent?.id ?? ''
    const runs = await w.ran(first, 3)
    assert.deepEqual(
      runs.map(({ id, parent, result: value }) => [id, parent, value]),
      [
        [first, null, 4],
        [result.parent?.id, first, 40],
        [result.id, result.parent?.id, 41],
      ],
    )
    assert.deepEqual(await Promise.all([w.row(first), w.row(result.id)].map(async (row) => (await row)?.status)), ['PENDING', undefined])
  })

  it('sends steps that are to expire at one instant', async () => {
    const result = await chain(call('add', 1, 1), call('add', 1), call('add', 1)).applyAsync({ expires: 60, scope: 'every' })
    const runs = await w.ran(result.parent?.parent?.id ?? '', 3)
    assert.equal(runs[2]?.result, 4)
    const [first = 0, ...later] = runs.map(({ expires }) => Date.parse(expires ?? ''))
    assert.ok(
      later.every((instant) => instant >= first && instant < first + 20_000),
      `${first} ${later}`,
    )
  })

  it('ends a chain at the step that fails', async () => {
    const result = await chain(call('add', 1, 1), call('fail'), call('add', 1))
      .onError(call('on_error'))
      .applyAsync()
    const runs = await w.ran(result.parent?.parent?.id ?? '', 3)
    assert.deepEqual(
      runs.map(({ task, args }) => [task, ...args]),
      [
        ['py.add', 1, 1],
        ['py.fail', 2],
        ['py.on_error', result.parent?.id],
      ],
    )
  })

  it('retries by its own rules, under the same id', async () => {
    const result = await chain(call('flaky', 5), call('add', 1)).applyAsync()
    const runs = await w.ran(result.parent?.id ?? '', 3)
    assert.deepEqual(
      runs.map(({ id, retries }) => [id, retries]),
      [
        [result.parent?.id, 0],
        [result.parent?.id, 1],
        [result.id, 0],
      ],
    )
    assert.equal(runs[2]?.result, 6)
  })

  it('runs the members of a group, each under the group’s id', async () => {
    const result = await group(call('add', 1, 1), call('add', 2, 2), call('add', 3, 3)).applyAsync()
    const runs = await w.ran(result.id, 3)
    assert.deepEqual(new Set(runs.map(({ group: of }) => of)), new Set([result.id]))
    assert.deepEqual(
      runs.map((run) => run.result),
      [2, 4, 6],
    )
  })

  it('runs map, starmap and chunks by the names that Celery has for them', async () => {
    const add = w.app.task('py.add', elsewhere as (x: number, y: number) => number)
    const tsum = w.app.task('py.tsum', elsewhere as (numbers: number[]) => number)
    const pairs: [number, number][] = [
      [1, 1],
      [2, 2],
      [3, 3],
    ]
    for (const [sent, values] of [
      [
        await tsum
          .map([
            [1, 2],
            [3, 4],
          ])
          .applyAsync(),
        [3, 7],
      ],
      [await add.starmap(pairs).applyAsync(), [2, 4, 6]],
      [await add.chunks(pairs, 2).applyAsync(), [2, 4, 6]],
    ] as const) {
      const runs = await w.ran(sent.id, values.length)
      assert.deepEqual(
        runs.map((run) => run.result),
        values,
      )
    }
  })
})
