import assert from 'node:assert/strict'
import type { App } from '../../src/lib/app/app.js'
import { chain, chord, group } from '../../src/lib/app/canvas.js'
import { UsageError } from '../../src/lib/task/errors.js'
import { NotJsonError } from '../../src/lib/task/json.js'
import { openWorld, type World } from '../helpers/world.js'

const tasks = (app: App) => ({
  add: app.task('add', (x: number, y: number) => x + y),
  any: app.task('any', (...args: unknown[]) => args.length),
  told: app.task({ name: 'told', errback: true }, (...args: unknown[]) => args.length),
})

/** What a signature was sent as. */
async function sent(w: World, id: string) {
  const row = await w.app.tasks.get(id)
  assert.ok(row)
  return { args: row.args, kwargs: row.kwargs, queue: row.queue, priority: row.priority, headers: row.options.headers }
}

const refused = (message: RegExp) => (error: Error) => error instanceof UsageError && message.test(error.message)

describe('a signature', () => {
  it('sent with arguments has them before its own, and their kwargs and options over its own', async () => {
    await using w = await openWorld()
    const { any } = tasks(w.app)
    const own = any.signature([10], { kwargs: { a: 1, b: 1 }, queue: 'own', priority: 3 })
    const result = await own.applyAsync({ args: [1, 2], kwargs: { b: 2, c: 2 }, queue: 'call' })
    assert.deepEqual(await sent(w, result.id), {
      args: [1, 2, 10],
      kwargs: { a: 1, b: 2, c: 2 },
      queue: 'call',
      priority: 3,
      headers: undefined,
    })
  })

  it('that is immutable keeps its arguments, and takes options all the same', async () => {
    await using w = await openWorld()
    const { any } = tasks(w.app)
    const result = await any.si(10).applyAsync({ args: [1, 2], kwargs: { c: 2 }, queue: 'call', headers: { a: 1 } })
    assert.deepEqual(await sent(w, result.id), { args: [10], kwargs: {}, queue: 'call', priority: 0, headers: { a: 1 } })
    const set = await any
      .s(10)
      .set({ immutable: true })
      .applyAsync({ args: [1] })
    assert.deepEqual((await sent(w, set.id)).args, [10])
  })

  it('never changes: what changes it returns another', async () => {
    await using w = await openWorld()
    const { add, told } = tasks(w.app)
    const first = add.s(1, 2)
    const before = JSON.stringify(first)
    const others = [first.set({ queue: 'q' }), first.clone([]).set({ queue: 'q' }), first.link(add.s(1)), first.onError(told.s())]
    for (const other of [...others, first.freeze(), first.pipe(add.s(1))]) assert.notEqual(JSON.stringify(other), before)
    assert.equal(JSON.stringify(first), before)
  })

  it('is cloned with more arguments, kwargs and options', async () => {
    await using w = await openWorld()
    const { any } = tasks(w.app)
    const result = await any.s(3).clone([1, 2], { a: 1 }, { queue: 'q', priority: 5 }).applyAsync()
    assert.deepEqual(await sent(w, result.id), { args: [1, 2, 3], kwargs: { a: 1 }, queue: 'q', priority: 5, headers: undefined })
  })

  it('that is frozen keeps its id, and is sent under it once', async () => {
    await using w = await openWorld()
    const { add } = tasks(w.app)
    const frozen = add.s(1, 2).freeze()
    assert.equal(frozen.freeze().id, frozen.id)
    assert.equal((await frozen.applyAsync()).id, frozen.id)
    await assert.rejects(frozen.applyAsync(), refused(/is recorded already; give another taskId, or none$/))
    assert.equal((await add.s(1, 2).freeze('mine').applyAsync()).id, 'mine')
    assert.equal(frozen.freeze('other').id, frozen.id)
    assert.equal(add.s(1, 2).id, null)
  })

  it('has the defaults of its task, which its own options win over, and goes where the task is routed', async () => {
    await using w = await openWorld({ settings: { routes: { 'mail.*': 'mail' }, defaultQueue: 'rest' } })
    const { add } = tasks(w.app)
    const slow = w.app.task({ name: 'slow', queue: 'slow', priority: 2, expires: 60 }, () => {})
    const mail = w.app.task('mail.send', () => {})
    const results = await group(add.s(1, 1), slow.s(), slow.s().set({ queue: 'other' }), mail.s(), mail.map([])).applyAsync()
    const rows = await Promise.all(results.results.map(({ id }) => w.app.tasks.get(id)))
    assert.deepEqual(
      rows.map((row) => [row?.queue, row?.priority]),
      [
        ['rest', 0],
        ['slow', 2],
        ['other', 2],
        ['mail', 0],
        ['mail', 0],
      ],
    )
    assert.equal(rows[1]?.expires?.getTime(), w.clock.now() + 60_000)
  })

  it('of what is sent later has the defaults of its task, too, and its time to live counts from then', async () => {
    await using w = await openWorld({ settings: { routes: { add: 'sums' } } })
    const { add } = tasks(w.app)
    const slow = w.app.task({ name: 'slow', queue: 'slow', expires: 60, acksLate: true, errback: true }, (_given: unknown) => 1)
    await chain(add.s(1, 1), slow.s().link(add.s(1)).onError(slow.s())).applyAsync({ link: slow.s() })
    const [first] = await w.app.tasks.list()
    const [step] = first?.options.chain ?? []
    assert.ok(step?.kind === 'task')
    const { link = [], linkError = [], taskId: _, ...options } = step.options
    assert.deepEqual(options, { queue: 'slow', expires: 60, acksLate: true, errback: true, ignoreResult: false })
    assert.deepEqual(
      [...link, ...linkError].map((one) => one.kind === 'task' && [one.task, one.options.queue]),
      [
        ['add', 'sums'],
        ['slow', 'slow'],
        ['slow', 'slow'],
      ],
    )
  })

  it('of a task that takes a request as an errback says so', async () => {
    await using w = await openWorld()
    const { told } = tasks(w.app)
    assert.deepEqual(told.s(1).canvas, { kind: 'task', task: 'told', args: [1], kwargs: {}, options: { errback: true }, immutable: false })
  })

  it('goes through JSON in the form of Celery', async () => {
    await using w = await openWorld()
    const { add, any, told } = tasks(w.app)
    const whole = chain(add.s(1, 2).set({ queue: 'q' }), group(add.s(3), add.si(4, 4)), chord([told.s()], any.s(5)))
    const json = JSON.parse(JSON.stringify(whole))
    assert.deepEqual(JSON.parse(JSON.stringify(w.app.signature(json))), json)
    assert.deepEqual(JSON.parse(JSON.stringify(add.s(1, 2).set({ queue: 'q', expires: 5 }))), {
      task: 'add',
      args: [1, 2],
      kwargs: {},
      options: { queue: 'q', expires: 5 },
      subtask_type: null,
      immutable: false,
    })
  })

  it('is made of a name, too', async () => {
    await using w = await openWorld()
    const result = await w.app.signature('elsewhere').applyAsync({ args: [1], kwargs: { a: 2 } })
    const row = await w.app.tasks.get(result.id)
    assert.deepEqual([row?.task, row?.args, row?.kwargs], ['elsewhere', [1], { a: 2 }])
    assert.throws(() => w.app.signature({ args: [] }), refused(/^signature: expected a signature/))
  })
})

describe('a signature is refused', () => {
  it('with an argument that JSON cannot carry, which is named', async () => {
    await using w = await openWorld()
    const { any } = tasks(w.app)
    const notJson = (path: string) => (error: Error) => error instanceof NotJsonError && error.message.startsWith(path)
    assert.throws(() => any.s(1, { when: new Date(0) }), notJson('args[1].when is a Date'))
    assert.throws(() => any.map([Number.NaN]), notJson('items[0] is NaN'))
    assert.throws(() => any.signature([], { headers: { a: [undefined] } as never }), notJson('headers.a[0] is undefined'))
    await assert.rejects(any.s().applyAsync({ args: [new Map()] }), notJson('args[0] is a Map'))
    await assert.rejects(any.s().applyAsync({ kwargs: { a: 1n as never } }), notJson('kwargs.a is a bigint'))
    assert.deepEqual(await w.app.tasks.list(), [])
  })

  it('with an option that does not exist or is of the wrong type', async () => {
    await using w = await openWorld()
    const { add } = tasks(w.app)
    const unknown = { que: 'q' } as object
    assert.throws(() => add.s(1, 2).set(unknown), refused(/^there is no publish option named que; the options are .*taskId and immutable$/))
    await assert.rejects(
      add.s(1, 2).applyAsync(unknown),
      refused(/^there is no publish option named que; the options are .*, link, linkError, scope, workflowExpires and trx$/),
    )
    await assert.rejects(add.applyAsync([1, 2], { link: add.s(1), ...unknown }), refused(/no publish option named que/))
    assert.throws(() => add.s(1, 2).set({ kwargs: {} } as object), refused(/^kwargs are no option of a signature/))
    await assert.rejects(add.applyAsync([1, 2], unknown), refused(/no publish option named que; .*, link, linkError, /))
    assert.throws(() => add.s(1, 2).set({ priority: 999 }), refused(/^priority: expected a whole number from 0 to 255, got: 999$/))
    assert.throws(() => add.s(1, 2).set({ immutable: 'no' as never }), refused(/^immutable: expected true or false, got: no$/))
    await assert.rejects(add.s(1, 2).applyAsync({ scope: 'all' as never }), refused(/^scope: expected first or every, got: all$/))
    await assert.rejects(add.s(1, 2).applyAsync({ workflowExpires: -1 }), refused(/^workflowExpires: expected seconds or a Date, got: -1$/))
    await assert.rejects(
      add.s(1, 2).applyAsync({ softTimeLimit: 9, timeLimit: 3 }),
      refused(/^softTimeLimit: expected at most the time limit/),
    )
  })

  it('where something else is composed', async () => {
    await using w = await openWorld()
    const { add } = tasks(w.app)
    assert.throws(() => chain(add as never), refused(/^chain: expected a signature such as add\.s\(2, 2\), got: a function$/))
    assert.throws(() => group([1] as never), refused(/^group: expected a signature .*, got: 1$/))
    assert.throws(() => chord([], {} as never), refused(/^chord: expected a signature .*, got: \{\}$/))
    await assert.rejects(add.applyAsync([1, 2], { link: [add] as never }), refused(/^link: expected a signature/))
    assert.throws(() => add.chunks([[1, 2]], 0), refused(/^chunks: expected a whole number of items above 0, got: 0$/))
    assert.throws(() => add.starmap([1] as never), refused(/^starmap: expected an array of arguments for each call, got: 1$/))
  })

  it('beside one of another app', async () => {
    await using w = await openWorld()
    const { app } = await w.join()
    const [ours, theirs] = [tasks(w.app).add, tasks(app).add]
    assert.throws(() => chain(ours.s(1, 1), theirs.s(1)), refused(/^the signatures of one workflow belong to different apps$/))
  })

  it('under the name of a task that every worker has', async () => {
    await using w = await openWorld()
    assert.throws(() => w.app.task('celery.map', () => {}), refused(/^a task named celery\.map is registered already$/))
  })
})
