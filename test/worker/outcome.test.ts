import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { chain, group } from '../../src/lib/app/canvas.js'
import { MAX_JSON_BYTES } from '../../src/lib/task/json.js'
import { assertMessages } from '../helpers/messages.js'
import { ROOT } from '../helpers/run.js'
import { until } from '../helpers/until.js'
import { gate, pooled, working } from '../helpers/working.js'
import { openWorld, type World } from '../helpers/world.js'

const SOON = { timeout: 10 } as const
const UNTHROWN = { timeout: 10, propagate: false } as const

const rowOf = async (w: World, id: string) => (await w.app.tasks.get(id)) ?? assert.fail(`no row for ${id}`)
const attemptsOf = async (w: World, id: string) => (await w.app.tasks.history(id))?.attempts ?? []

/** The text a result is stored as. */
const storedResult = async (w: World, id: string) =>
  (await w.database.all<{ result: string | null }>('SELECT result FROM task_result WHERE task_id = ?', [id]))[0]?.result

/** The lists in a value, with an x for each id. */
const shapeOf = (value: unknown): unknown => (Array.isArray(value) ? value.map(shapeOf) : typeof value === 'string' ? 'x' : value)

describe('a task that succeeds', () => {
  it('has its result as JSON on its row, and null as no value', async () => {
    await using w = await openWorld()
    const echo = w.app.task('echo', (value: unknown) => value)
    await using _ = working(w.app)
    for (const value of [{ a: 1 }, [1, 'two', null], 'with "quotes",\nand a line', '', 0, false]) {
      const result = await echo.delay(value)
      assert.deepEqual(await result.get(SOON), value)
      assert.equal(await storedResult(w, result.id), JSON.stringify(value))
    }
    for (const value of [null]) {
      const result = await echo.delay(value)
      assert.equal(await result.get(SOON), null)
      assert.equal(await storedResult(w, result.id), null)
    }
    const nothing = await w.app.task('nothing', () => {}).delay()
    assert.equal(await nothing.get(SOON), null)
    assert.equal(await storedResult(w, nothing.id), null)
  })

  it('has its end and the expiry of its result on its row: the call decides on that, else the task, else the app', async () => {
    await using w = await openWorld({ settings: { resultExpires: 100 } })
    const plain = w.app.task('plain', () => 1)
    const own = w.app.task({ name: 'own', resultExpires: null }, () => 1)
    await using _ = working(w.app)
    const published = [
      [await plain.delay(), 100],
      [await own.delay(), null],
      [await own.applyAsync([], { resultExpires: 7 }), 7],
    ] as const
    for (const [result, seconds] of published) {
      await result.get(SOON)
      const { status, result: value, traceback, finishedAt, resultExpiresAt, updatedAt } = await rowOf(w, result.id)
      assert.deepEqual([status, value, traceback], ['SUCCESS', 1, null])
      assert.deepEqual(finishedAt, new Date(w.clock.now()))
      assert.deepEqual(updatedAt, finishedAt)
      assert.deepEqual(resultExpiresAt, seconds === null ? null : new Date(w.clock.now() + seconds * 1000))
    }
    for (const [{ id }] of published) assert.deepEqual(await attemptsOf(w, id), [])
  })

  it('whose result is not JSON fails with the path that JSON cannot carry', async () => {
    await using w = await openWorld()
    const task = w.app.task('clock', () => ({ at: [new Date(0)] }))
    await using _ = working(w.app)
    const error = await (await task.delay()).get(UNTHROWN)
    assert.equal(String(error), 'NotJsonError: result.at[0] is a Date, which JSON cannot carry')
  })

  it('whose result is too large fails and says how large it was', async () => {
    await using w = await openWorld()
    const task = w.app.task('large', () => 'x'.repeat(MAX_JSON_BYTES))
    await using _ = working(w.app)
    const error = await (await task.delay()).get(UNTHROWN)
    assert.equal(String(error), `NotJsonError: result is ${MAX_JSON_BYTES + 2} bytes of JSON; the limit is ${MAX_JSON_BYTES}`)
  })

  it('with forceJson keeps as text what JSON cannot carry, and the rest as it is', async () => {
    await using w = await openWorld({ settings: { forceJson: true } })
    const circular: unknown[] = []
    circular.push(circular)
    const made: Record<string, () => unknown> = {
      date: () => new Date(0),
      bigint: () => 2n ** 64n,
      circular: () => circular,
      mixed: () => ['x', new Date(0)],
      json: () => ['x', 1],
    }
    const task = w.app.task('make', (what: string) => made[what]?.())
    await using _ = working(w.app)
    assert.deepEqual(await (await task.delay('date')).get(SOON), { value: String(new Date(0)), forced_json: true })
    assert.deepEqual(await (await task.delay('bigint')).get(SOON), { value: '18446744073709551616', forced_json: true })
    assert.deepEqual(await (await task.delay('circular')).get(SOON), { value: '', forced_json: true })
    assert.deepEqual(await (await task.delay('mixed')).get(SOON), { value: `x,${new Date(0)}`, forced_json: true })
    assert.deepEqual(await (await task.delay('json')).get(SOON), ['x', 1])
  })
})

describe('a task that returns the handle of another', () => {
  it('has the ids of that as its result, in the form that Celery gives them', async () => {
    await using w = await openWorld()
    const add = w.app.task('add', (x: number, y: number) => x + y)
    const one = w.app.task('one', () => add.delay(1, 1))
    const several = w.app.task('several', () => chain(add.s(1, 1), group(add.s(10), add.s(20))).applyAsync())
    await using _ = working(w.app)

    const single = await one.delay()
    const { children } = (await until(async () => (await single.ready()) && w.app.tasks.history(single.id), 'its end')) ?? {}
    assert.equal(await storedResult(w, single.id), JSON.stringify([[children?.[0], null], null]))

    const workflow: unknown = await (await several.delay()).get(SOON)
    const golden = JSON.parse(await readFile(join(ROOT, 'test/fixtures/golden/chain_ending_in_group.json'), 'utf8'))
    assert.deepEqual(shapeOf(workflow), shapeOf(golden.returned_as_tuple))
  })

  it('fails when the handle is only a part of what it returns, which JSON cannot carry', async () => {
    await using w = await openWorld()
    const add = w.app.task('add', (x: number, y: number) => x + y)
    const task = w.app.task('part', async () => ({ sum: await add.delay(1, 1) }))
    await using _ = working(w.app)
    assert.match(String(await (await task.delay()).get(UNTHROWN)), /^NotJsonError: result\.sum is .* AsyncResult, which JSON cannot carry$/)
  })
})

describe('a task that fails', () => {
  it('has the type, the message and the whole stack of its error on its row, with its causes, and a line of history', async () => {
    await using w = await openWorld()
    const boom = w.app.task('boom', async function exploding() {
      throw new RangeError('too far', { cause: new TypeError('the root of it') })
    })
    await using here = working(w.app)
    const result = await boom.delay()
    const error = await result.get(UNTHROWN)
    assert.equal(String(error), 'RangeError: too far')

    const row = await rowOf(w, result.id)
    assert.deepEqual([row.status, row.errorType, row.errorMessage], ['FAILURE', 'RangeError', 'too far'])
    assert.match(row.traceback ?? '', /^RangeError: too far\n\s+at .*exploding/)
    assert.match(row.traceback ?? '', /\nCaused by: TypeError: the root of it\n\s+at /)
    assert.equal(row.result, null)
    const [attempt, ...more] = await attemptsOf(w, result.id)
    assert.deepEqual(more, [])
    assert.deepEqual(attempt, {
      seq: 1,
      at: new Date(w.clock.now()),
      kind: 'failure',
      workerId: here.worker.workerId,
      errorType: 'RangeError',
      errorMessage: 'too far',
      traceback: row.traceback,
    })
  })

  it('may throw anything: a text, nothing, or an object that cannot be shown', async () => {
    await using w = await openWorld()
    const hostile = {
      toString() {
        throw new Error('no')
      },
    }
    const things: Record<string, unknown> = { text: 'just a text', nothing: undefined, hostile }
    const task = w.app.task('throw', (what: string) => {
      throw things[what]
    })
    await using _ = working(w.app)
    assert.equal(String(await (await task.delay('text')).get(UNTHROWN)), 'Error: just a text')
    assert.equal(String(await (await task.delay('nothing')).get(UNTHROWN)), 'Error: undefined')
    assert.equal(String(await (await task.delay('hostile')).get(UNTHROWN)), 'Error: (the value could not be turned into text)')
  })

  for (const pool of ['async', 'processes'] as const) {
    it(`has as text whatever of its error JSON cannot carry: pool ${pool}`, async () => {
      await using w = await openWorld({ now: Date.now })
      await using _ = await pooled(w.app, { pool })
      for (const [what, expected, trace] of [
        ['bigint', 'OddError: 10', /\n\s+at /],
        ['symbol', 'OddError: Symbol(why)', /./], // whether such an error has a stack is Node's affair
        ['hostile', 'OddError: (the value could not be turned into text)', /./],
        ['circular', 'OddError: round', /^OddError: round\n\s+at /],
        ['cause', 'OddError: because', /\nCaused by: 10$/],
      ] as const) {
        const result = await w.app.sendTask('odd_error', [what])
        assert.equal(String(await result.get(UNTHROWN)), expected)
        assert.equal(await result.state(), 'FAILURE')
        assert.match((await rowOf(w, result.id)).traceback ?? '', trace)
        assert.equal(`OddError: ${(await attemptsOf(w, result.id)).map(({ errorMessage }) => errorMessage)}`, expected)
      }
    })
  }

  it('because no worker knows it says which task, and which ones the worker knows', async () => {
    await using w = await openWorld()
    w.app.task('known', () => 1)
    await using _ = working(w.app)
    const result = await w.app.sendTask('unknown')
    assert.equal(String(await result.get(UNTHROWN)), "NotRegistered: no task named 'unknown' is registered; this worker knows known")
    await assertMessages(w, 0)
  })
})

describe('a task that has expired', () => {
  it('is REVOKED at its deadline and not run; a moment before it is run', async () => {
    await using w = await openWorld()
    let runs = 0
    const task = w.app.task('count', () => ++runs)
    const late = await task.applyAsync([], { expires: 10 })
    w.clock.advance(1)
    const inTime = await task.applyAsync([], { expires: 10 })
    w.clock.advance(9_999)
    await using _ = working(w.app)
    assert.equal(String(await late.get(UNTHROWN)), 'TaskRevokedError: expired')
    assert.equal(await late.state(), 'REVOKED')
    assert.equal(await inTime.get(SOON), 1)
    assert.equal(runs, 1)
    await assertMessages(w, 0)
  })
})

describe('a task whose result is ignored', () => {
  it('leaves no row, before, during or after its run, and get() is null at once', async () => {
    await using w = await openWorld()
    const door = gate()
    let running = false
    const task = w.app.task({ name: 'quiet', ignoreResult: true }, async () => {
      running = true
      await door.passed
      return 1
    })
    const result = await task.delay()
    assert.equal(await result.get(), null)
    assert.equal(await w.app.tasks.get(result.id), null)
    await using here = working(w.app)
    await until(() => running, 'the task to run')
    assert.equal(await w.app.tasks.get(result.id), null)
    door.open()
    here.worker.stop()
    await here.ended
    assert.equal(await w.app.tasks.get(result.id), null)
    await assertMessages(w, 0)
  })

  it('by the call, or not by the call: the call wins over the task', async () => {
    await using w = await openWorld()
    const task = w.app.task({ name: 'quiet', ignoreResult: true }, () => 1)
    await using _ = working(w.app)
    const result = await task.applyAsync([], { ignoreResult: false })
    assert.equal(await result.get(SOON), 1)
    assert.equal((await rowOf(w, result.id)).status, 'SUCCESS')
  })

  for (const ending of ['returns', 'throws']) {
    it(`leaves nothing when it ${ending} after two retries, and a row while it waits for that`, async () => {
      await using w = await openWorld()
      const seen: number[] = []
      const task = w.app.task({ name: 'quiet', bind: true, ignoreResult: true }, ({ request, retry }) => {
        seen.push(request.retries)
        if (request.retries < 2) retry({ countdown: 60, error: new Error('not yet') })
        if (ending === 'throws') throw new Error('boom')
      })
      await using here = working(w.app)
      const { id } = await task.delay()
      for (const retries of [1, 2]) {
        const waiting = async () => w.app.tasks.list({ ids: [id], statuses: ['RETRY'] })
        await until(async () => (await waiting())[0]?.retries === retries, 'the row that waits')
        w.clock.advance(60_001)
        await until(() => seen.length > retries, 'the retry')
      }
      here.worker.stop()
      await here.ended
      assert.deepEqual(seen, [0, 1, 2])
      assert.equal(await w.app.tasks.get(id), null)
      assert.deepEqual(await w.database.all('SELECT * FROM task_attempt', []), [])
    })
  }
})

describe('a task whose publish is not tracked', () => {
  it('has a row from its start on', async () => {
    await using w = await openWorld({ settings: { trackPublish: false } })
    const door = gate()
    const task = w.app.task('wait', async () => {
      await door.passed
      return 'done'
    })
    const result = await task.applyAsync([], { priority: 4, headers: { of: 'note' } })
    const published = w.clock.now()
    assert.equal(await w.app.tasks.get(result.id), null)
    w.clock.advance(5000)
    await using _ = working(w.app)
    const row = await until(() => w.app.tasks.get(result.id), 'the row')
    assert.equal(row.status, 'STARTED')
    assert.equal(row.priority, 4)
    assert.deepEqual(row.options.headers, { of: 'note' })
    assert.deepEqual([row.submittedAt, row.startedAt], [new Date(published), new Date(w.clock.now())])
    door.open()
    assert.equal(await result.get(SOON), 'done')
  })

  it('has a row when no worker can run it', async () => {
    await using w = await openWorld({ settings: { trackPublish: false } })
    const unknown = await w.app.sendTask('unknown', ['x'])
    const expired = await w.app.sendTask('unknown', [], { expires: 1 })
    w.clock.advance(1000)
    await using _ = working(w.app)
    assert.equal((await until(() => w.app.tasks.get(unknown.id), 'the row')).status, 'FAILURE')
    assert.equal((await until(() => w.app.tasks.get(expired.id), 'the row')).status, 'REVOKED')
    assert.deepEqual((await rowOf(w, unknown.id)).args, ['x'])
  })
})

describe('the arguments of a task', () => {
  it('arrive as they were sent; kwargs by the names the task declares', async () => {
    await using w = await openWorld()
    const named = w.app.task({ name: 'named', params: ['x', 'y', 'z'] }, (...args: unknown[]) => args.map((arg) => arg ?? 'none'))
    await using _ = working(w.app)
    assert.deepEqual(await (await named.applyAsync([1, 2, 3])).get(SOON), [1, 2, 3])
    assert.deepEqual(await (await named.applyAsync([1], { kwargs: { z: 3, y: 2 } })).get(SOON), [1, 2, 3])
    assert.deepEqual(await (await named.applyAsync([], { kwargs: { y: [2] } })).get(SOON), ['none', [2]])
    assert.equal(String(await (await named.applyAsync([1], { kwargs: { x: 1 } })).get(UNTHROWN)), "TypeError: named got two values for 'x'")
    assert.equal(
      String(await (await named.applyAsync([], { kwargs: { w: 1 } })).get(UNTHROWN)),
      "TypeError: named has no parameter named 'w'; it takes x, y, z",
    )
  })

  it('end with one object of the kwargs for a task that declares no names', async () => {
    await using w = await openWorld()
    const task = w.app.task('plain', (...args: unknown[]) => args)
    await using _ = working(w.app)
    assert.deepEqual(await (await task.applyAsync([1], { kwargs: { y: 2 } })).get(SOON), [1, { y: 2 }])
    assert.deepEqual(await (await task.applyAsync([1])).get(SOON), [1])
  })

  it('come after what a bound task may know of itself', async () => {
    await using w = await openWorld()
    const seen: unknown[] = []
    const task = w.app.task({ name: 'bound', bind: true, queue: 'mail' }, ({ request }, ...args: unknown[]) => {
      seen.push(request, args)
    })
    await using _ = working(w.app, { queues: ['mail'] })
    const result = await task.applyAsync([1], { kwargs: { k: 2 }, headers: { h: 3 }, expires: 60 })
    await result.get(SOON)
    assert.deepEqual(seen, [
      {
        id: result.id,
        task: 'bound',
        args: [1],
        kwargs: { k: 2 },
        retries: 0,
        deliveries: 1,
        queue: 'mail',
        headers: { h: 3 },
        eta: null,
        expires: new Date(w.clock.now() + 60_000),
        parentId: null,
        rootId: result.id,
        retryOf: null,
        hostname: hostname(),
      },
      [1, { k: 2 }],
    ])
  })
})

describe('a task published by the body of another', () => {
  it('names it as its parent, and the first of the tree as its root', async () => {
    await using w = await openWorld()
    const leaf = w.app.task('leaf', () => 1)
    const branch = w.app.task('branch', async () => {
      await Promise.resolve()
      return (await leaf.delay()).id
    })
    const root = w.app.task('root', async () => [(await branch.delay()).id, (await branch.delay()).id])
    await using _ = working(w.app)
    const top = await root.delay()
    const branches = await top.get(SOON)
    assert.deepEqual((await w.app.tasks.history(top.id))?.children, branches)
    for (const id of branches) {
      const leafId = await w.app.result<string>(id).get(SOON)
      const [{ parentId, rootId }, grandchild] = [await rowOf(w, id), await rowOf(w, leafId)]
      assert.deepEqual([parentId, rootId], [top.id, top.id])
      assert.deepEqual([grandchild.parentId, grandchild.rootId], [id, top.id])
    }
    const outside = await leaf.delay()
    assert.deepEqual([(await rowOf(w, outside.id)).parentId, (await rowOf(w, outside.id)).rootId], [null, outside.id])
  })
  it('is listed by it in the order in which they were started, and so is what it published itself', async () => {
    await using w = await openWorld()
    const leaf = w.app.task('leaf', () => 'leaf')
    const branch = w.app.task('branch', async (id: string) => (await leaf.applyAsync([], { taskId: `${id}-leaf` })).id)
    // their ids sort otherwise, and the first of them ends last
    const door = gate()
    const slow = w.app.task('slow', () => door.passed)
    const root = w.app.task('root', async () => {
      await slow.applyAsync([], { taskId: 'y' })
      await branch.applyAsync(['z'], { taskId: 'z' })
      await branch.applyAsync(['x'], { taskId: 'x' })
    })
    await using _ = working(w.app)
    const { id } = await root.delay()
    for (const child of ['x', 'z']) await w.app.result(child).get(SOON)
    w.clock.advance(1)
    door.open()
    await w.app.result('y').get(SOON)
    const childrenOf = async (of: string) => (await w.app.tasks.history(of))?.children ?? []
    const collect = async (of: string): Promise<string[]> => [of, ...(await Promise.all((await childrenOf(of)).map(collect))).flat()]
    assert.deepEqual(await childrenOf(id), ['y', 'z', 'x'])
    assert.deepEqual(await collect(id), [id, 'y', 'z', 'z-leaf', 'x', 'x-leaf'])
  })
})
