import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { needs } from '../helpers/services.js'
import { declareNodeTasks, openSharedSite, type SharedSite } from '../helpers/shared-site.js'
import { until } from '../helpers/until.js'
import { gate, type Working, working } from '../helpers/working.js'

describe('a client of Celery’s, with a Node worker', () => {
  let w: SharedSite
  let worker: Working
  let errbacks: unknown[][]
  const startedAt = new Map<string, number>()

  before(async function () {
    this.timeout(60_000)
    await needs(this, 'RabbitMQ', 'Celery')
    w = await openSharedSite({ client: true })
    w.app.task({ name: 'node.greet', bind: true, params: ['name', 'greeting'] }, (task, name: string, greeting = 'Hello') => {
      startedAt.set(task.request.id, Date.now())
      return `${greeting}, ${name}`
    })
    w.app.task('node.fail', (...args: unknown[]) => {
      throw new RangeError(`${args.length} arguments`)
    })
    w.app.task({ name: 'node.flaky', bind: true, maxRetries: 3 }, (task, x: number) => {
      if (task.request.retries < 2) throw task.retry({ countdown: 0.05, error: new Error('not yet') })
      return [x, task.request.retries]
    })
    errbacks = declareNodeTasks(w.app)
    worker = working(w.app)
  })
  after(async function () {
    this.timeout(60_000)
    await worker?.[Symbol.asyncDispose]()
    await w?.[Symbol.asyncDispose]()
  })

  /** The rows of what a line of Python has sent, once all have ended. */
  const sent = async (line: string) => Promise.all((await w.python(line)).map((id) => w.ended(id)))
  const results = async (line: string) => (await sent(line)).map(({ status, result }) => (status === 'SUCCESS' ? result : status))

  it('has its tasks run, with arguments by place and by name', async () => {
    assert.deepEqual(await results('node.add.delay(2, 2)'), [4])
    assert.deepEqual(await results("node.greet.delay('Ada')"), ['Hello, Ada'])
    assert.deepEqual(await results("node.greet.delay('Ada', greeting='Moin')"), ['Moin, Ada'])
    assert.deepEqual(await results('node.add.delay(y=1, x=2)'), [3])
    const [row] = await sent("node.greet.apply_async(('é😀',), {'greeting': None}, priority=3, headers={'tenant': {'n': 2**40}})")
    assert.deepEqual([row?.args, row?.kwargs, row?.priority, row?.queue], [['é😀'], { greeting: null }, 3, 'node'])
    assert.deepEqual(row?.options.headers, { tenant: { n: 2 ** 40 } })
  })

  it('has a task that it has no worker for rejected: FAILURE NotRegistered', async () => {
    const [row] = await sent("app.send_task('node.unheard_of', [1])")
    assert.deepEqual([row?.status, row?.errorType], ['FAILURE', 'NotRegistered'])
  })

  it('has the steps of a chain run one after the other, each a row under the id that the client knows', async () => {
    const rows = await sent('chain(node.add.s(2, 2), node.add.s(10), node.add.si(0, 1), node.add.s(y=5)).apply_async()')
    assert.deepEqual(
      rows.map(({ status, result }) => [status, result]),
      [4, 14, 1, 6].map((result) => ['SUCCESS', result]),
    )
    assert.deepEqual(
      rows.map(({ rootId, parentId }) => [rootId, parentId]),
      [null, 0, 1, 2].map((parent) => [rows[0]?.taskId, parent === null ? null : rows[parent]?.taskId]),
    )
  })

  it('has the later steps of a chain fail with the one that fails, and its errbacks called once', async () => {
    errbacks.length = 0
    const rows = await sent(
      "chain(node.add.s(1, 1), node.fail.s('a'), node.add.s(1), node.add.s(2)).apply_async(link_error=node.on_error.s('extra'))",
    )
    assert.deepEqual(
      rows.map(({ status, errorType }) => [status, errorType]),
      [
        ['SUCCESS', null],
        ['FAILURE', 'RangeError'],
        ['FAILURE', 'RangeError'],
        ['FAILURE', 'RangeError'],
      ],
    )
    await until(() => errbacks.length > 0, 'the errback')
    assert.deepEqual(errbacks, [[rows[1]?.taskId, 'extra']])
  })

  it('has callbacks sent with the result, and errbacks with the id', async () => {
    const before = errbacks.length
    const [row] = await sent('node.add.apply_async((2, 2), link=[node.add.s(10), node.add.si(1, 2)])')
    const children = await until(async () => {
      const rows = (await w.app.tasks.list()).filter(({ rootId }) => rootId === row?.taskId)
      return rows.filter(({ finishedAt }) => finishedAt !== null).length === 3 && rows.filter(({ parentId }) => parentId !== null)
    }, 'both callbacks to end')
    assert.deepEqual(new Set(children.map(({ result }) => result)), new Set([14, 3]))
    const [failed] = await sent('node.fail.apply_async((), link_error=[node.on_error.s(), node.on_error.si(7)])')
    await until(() => errbacks.length === before + 2, 'both errbacks')
    assert.deepEqual(new Set(errbacks.slice(before).map(String)), new Set([`${failed?.taskId}`, '7']))
  })

  it('has groups, map, starmap and chunks run', async () => {
    assert.deepEqual(await results('group(node.add.s(i, i) for i in range(3)).apply_async()'), [0, 2, 4])
    assert.deepEqual(await results("node.greet.map(['a', 'b']).apply_async(queue='node')"), [['Hello, a', 'Hello, b']])
    assert.deepEqual(await results("node.add.starmap([(1, 1), (2, 2)]).apply_async(queue='node')"), [[2, 4]])
    assert.deepEqual(await results("node.add.chunks([(i, i) for i in range(5)], 2).group().apply_async(queue='node')"), [
      [0, 2],
      [4, 6],
      [8],
    ])
  })

  it('has a task retried under its id, with all that follows it', async () => {
    const rows = await sent('chain(node.flaky.s(5), node.greet.s()).apply_async()')
    assert.deepEqual([rows[0]?.retries, rows[0]?.result, rows[1]?.result], [2, [5, 2], 'Hello, 5,2'])
    const history = await w.app.tasks.history(rows[0]?.taskId ?? '')
    assert.deepEqual(
      history?.attempts.map(({ kind }) => kind),
      ['retry', 'retry'],
    )
  })

  it('has a countdown and an eta wait as rows, and run under their ids', async () => {
    const at = Date.now() + 1000
    const [id = ''] = await w.python(
      `node.greet.apply_async(('late',), eta=datetime.datetime.fromtimestamp(${at / 1000}, datetime.timezone.utc))`,
    )
    const [soon = ''] = await w.python("node.greet.apply_async(('soon',), countdown=0.3)")
    const waiting = await until(() => w.row(id), 'a row')
    assert.deepEqual([waiting.status, waiting.eta?.getTime()], ['PENDING', at])
    assert.deepEqual([(await w.ended(soon)).result, (await w.ended(id)).result], ['Hello, soon', 'Hello, late'])
    assert.ok((startedAt.get(id) ?? 0) >= at)
  })

  it('has a task revoked that expires in the hands of a worker that is busy', async () => {
    const door = gate()
    const busy = await w.join({ ...w.settings, defaultQueue: 'busy' })
    busy.app.task('node.greet', () => door.passed)
    await using _busy = working(busy.app, { concurrency: 1, sender: false })
    const [first = ''] = await w.python("node.greet.apply_async(('a',), queue='busy')")
    await until(async () => (await w.row(first))?.status === 'STARTED', 'the first to run')
    const [second = ''] = await w.python(
      "node.greet.apply_async(('b',), queue='busy', expires=0.2, link_error=node.on_error.si('expired'))",
    )
    await sleep(300)
    door.open()
    const row = await w.ended(second)
    assert.deepEqual([row.status, row.errorMessage], ['REVOKED', 'expired'])
    await until(() => errbacks.some(([what]) => what === 'expired'), 'its errback')
  })

  it('may compress what it sends, and hide or rename it', async () => {
    assert.deepEqual(await results("node.add.apply_async((2, 2), compression='zlib')"), [4])
    const [row] = await sent("node.add.apply_async((2, 3), argsrepr='(<secret>)', shadow='shown', reply_to='nobody')")
    assert.deepEqual([row?.task, row?.result, row?.options.celery], ['node.add', 5, { shadow: 'shown', reply_to: 'nobody' }])
  })

  it('leaves no row of a task whose result it ignores, when that ends well', async () => {
    const [id = ''] = await w.python("node.greet.apply_async(('x',), ignore_result=True)")
    await until(() => startedAt.has(id), 'it to run')
    await until(async () => (await w.row(id)) === null, 'its row to go')
  })

  it('is understood in protocol 1, too', async () => {
    const line =
      "app.conf.update(task_protocol=1) or app.amqp.__dict__.pop('create_task_message', None) and None or node.add.apply_async((2, 2), link=node.add.s(1))"
    assert.deepEqual(await results(line), [4])
    await w.python(
      "app.conf.update(task_protocol=2) or app.amqp.__dict__.pop('create_task_message', None) and None or node.add.delay(1, 1)",
    )
  })
})
