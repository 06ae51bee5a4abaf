import assert from 'node:assert/strict'
import { chain, chord, group } from '../../src/lib/app/canvas.js'
import { GroupResult } from '../../src/lib/app/group-result.js'
import type { AsyncResult } from '../../src/lib/app/result.js'
import { declareSums, range, SOON } from '../helpers/sums.js'
import { until } from '../helpers/until.js'
import { working } from '../helpers/working.js'
import { openWorld, type World } from '../helpers/world.js'

const open = () => openWorld({ now: Date.now })

/** The values of what a task's end sent, once they are there. */
async function childValues(result: AsyncResult, count: number): Promise<unknown[]> {
  const children = await until(async () => {
    const found = await result.children()
    return found.length === count && found
  }, `${count} children of ${result.id}`)
  return Promise.all(children.map((child) => child.get(SOON)))
}

const rowsOf = async (w: World) => (await w.app.tasks.list()).reverse()

describe('a callback', () => {
  it('gets the result of the task', async () => {
    await using w = await open()
    const { add, multiply } = declareSums(w.app)
    await using _ = working(w.app)
    const one = await add.applyAsync([5, 5], { link: add.s(35) })
    assert.equal(await one.get(SOON), 10)
    assert.deepEqual(await childValues(one, 1), [45])
    const two = await add.applyAsync([5, 5], { link: [add.s(35), multiply.s(2)] })
    assert.deepEqual(await childValues(two, 2), [45, 20])
  })

  it('that is immutable has its own arguments only, and a group of them each the result', async () => {
    await using w = await open()
    const { add, multiply } = declareSums(w.app)
    await using _ = working(w.app)
    const result = await add.applyAsync([2, 2], { link: [multiply.si(4, 4), add.s(1), group(add.s(2), add.s(3))] })
    assert.deepEqual(await childValues(result, 4), [16, 5, 6, 7])
    const rows = (await rowsOf(w)).slice(1)
    assert.deepEqual(
      rows.map(({ parentId, rootId }) => [parentId, rootId]),
      rows.map(() => [result.id, result.id]),
    )
  })

  it('of a chain gets the value of its last step', async () => {
    await using w = await open()
    const { add, multiply } = declareSums(w.app)
    await using _ = working(w.app)
    const result = await chain(add.s(1, 1), add.s(2)).applyAsync({ link: multiply.s(10) })
    assert.deepEqual(await childValues(result, 1), [40])
  })
})

describe('a chain', () => {
  it('hands each step the result of the one before, and leads back by parents', async () => {
    await using w = await open()
    const { add, multiply } = declareSums(w.app)
    await using _ = working(w.app)
    const result = await chain(multiply.s(5, 5), add.s(4), multiply.s(8)).applyAsync()
    assert.equal(await result.get(SOON), 232)
    assert.equal(await result.parent?.get(SOON), 29)
    assert.equal(await result.parent?.parent?.get(SOON), 25)
    assert.equal(result.parent?.parent?.parent, null)
    const [first, second, third] = await rowsOf(w)
    assert.deepEqual([second?.parentId, third?.parentId], [first?.taskId, second?.taskId])
    assert.deepEqual([second?.rootId, third?.rootId], [first?.taskId, first?.taskId])
    assert.equal(await (await multiply.s(5, 5).pipe(add.s(4)).pipe(multiply.s(8)).applyAsync()).get(SOON), 232)
  })

  it('in a chain is a part of it', async () => {
    await using w = await open()
    const { add, multiply } = declareSums(w.app)
    await using _ = working(w.app)
    const inner = chain(add.s(4), multiply.s(8))
    const result = await chain(multiply.s(5, 5), inner, add.si(1, 1), add.s(1)).applyAsync()
    assert.equal(await result.get(SOON), 3)
    assert.equal(result.lineage().length, 5)
  })

  it('of one step has that step’s result, and of none has none', async () => {
    await using w = await open()
    const { add } = declareSums(w.app)
    await using _ = working(w.app)
    const one = await chain(add.s(1, 1)).applyAsync()
    assert.deepEqual([await one.get(SOON), one.parent, (await w.app.tasks.list()).length], [2, null, 1])
    assert.equal(await chain().applyAsync(), null)
    assert.equal(await chain([]).applyAsync(), null)
    assert.equal((await w.app.tasks.list()).length, 1)
  })

  it('passes partial arguments to its first step', async () => {
    await using w = await open()
    const { add } = declareSums(w.app)
    await using _ = working(w.app)
    assert.equal(await (await chain(add.s(4), add.s(4)).applyAsync({ args: [1] })).get(SOON), 9)
    assert.equal(await (await chain(add.s(4), add.s(4)).delay(1)).get(SOON), 9)
  })

  it('that ends in a group has the results of that group', async () => {
    await using w = await open()
    const { add, multiply } = declareSums(w.app)
    await using _ = working(w.app)
    const result = await chain(add.s(1, 1), group(add.s(1), multiply.s(10))).applyAsync()
    assert.ok(result instanceof GroupResult)
    assert.deepEqual(await result.get(SOON), [3, 20])
    assert.equal(await result.parent?.get(SOON), 2)
    const single = await chain(add.s(1, 1), group(range(1).map(() => add.s(1)))).applyAsync()
    assert.ok(single instanceof GroupResult)
    assert.deepEqual([await single.get(SOON), await single.parent?.get(SOON)], [[3], 2])
    const none = await chain(add.s(1, 1), group(range(0).map(() => add.s(1)))).applyAsync()
    assert.ok(none instanceof GroupResult)
    assert.deepEqual([await none.get(SOON), await none.parent?.get(SOON)], [[], 2])
  })

  it('makes a group in it a chord with what follows, and a group of one that one', async () => {
    await using w = await open()
    const { add, ident, tsum, multiply } = declareSums(w.app)
    await using _ = working(w.app)
    const whole = chain(add.s(1, 1), group(add.s(1), multiply.s(10)), tsum.s(), add.s(100))
    assert.equal(await (await whole.applyAsync()).get(SOON), 123)
    assert.equal(await (await chain(add.s(1, 1), group(add.s(1)), ident.s()).applyAsync()).get(SOON), 3)
  })
})

describe('a group', () => {
  it('has the list of its results in its order', async () => {
    await using w = await open()
    const { add } = declareSums(w.app)
    await using _ = working(w.app)
    const result = await group(range(10).map((i) => add.s(i, i))).applyAsync()
    assert.deepEqual(
      await result.get(SOON),
      range(10).map((i) => 2 * i),
    )
    const rows = await rowsOf(w)
    assert.deepEqual(
      rows.map(({ groupId, groupIndex, rootId, parentId }) => [groupId, groupIndex, rootId, parentId]),
      range(10).map((i) => [result.id, i, result.id, null]),
    )
  })

  it('of none is ready, and its list is empty', async () => {
    const result = await group().applyAsync()
    assert.deepEqual(
      [await result.get(), await result.ready(), await result.successful(), await result.failed(), await result.waiting(), result.length],
      [[], true, true, false, false, 0],
    )
  })

  it('gives partial arguments to each member that is not immutable', async () => {
    await using w = await open()
    const { add, multiply } = declareSums(w.app)
    await using _ = working(w.app)
    const result = await group(add.s(1), multiply.s(2), add.si(7, 7)).applyAsync({ args: [5] })
    assert.deepEqual(await result.get(SOON), [6, 10, 14])
  })

  it('in a group is a part of it, in its place', async () => {
    await using w = await open()
    const { ident } = declareSums(w.app)
    await using _ = working(w.app)
    const nested = group(ident.s('a'), group(ident.s('b'), ident.s('c')), ident.s('d'))
    assert.deepEqual(await (await nested.applyAsync()).get(SOON), ['a', 'b', 'c', 'd'])
    assert.deepEqual(await (await nested.pipe(ident.s()).applyAsync()).get(SOON), ['a', 'b', 'c', 'd'])
    assert.deepEqual(
      (await rowsOf(w)).slice(0, 4).map(({ groupIndex }) => groupIndex),
      [0, 1, 2, 3],
    )
  })

  it('takes no callback and no errback, and nothing is sent', async () => {
    await using w = await open()
    const { add } = declareSums(w.app)
    const members = group(add.s(1, 1), add.s(2, 2))
    const typeError = (message: string) => (error: Error) => error instanceof TypeError && error.message === message
    await assert.rejects(members.applyAsync({ link: add.si(1, 1) }), typeError('Cannot add link to group: use a chord'))
    await assert.rejects(
      members.applyAsync({ linkError: add.si(1, 1) }),
      typeError('Cannot add link to group: do that on individual tasks'),
    )
    assert.deepEqual(await w.app.tasks.list(), [])
  })

  it('links a callback to its first member, immutable, and an errback to each', async () => {
    await using w = await open()
    const { add, fail, multiply } = declareSums(w.app)
    const told: unknown[] = []
    const onError = w.app.task('onError', (id: string) => told.push(id))
    await using _ = working(w.app)
    const result = await group(add.s(1, 1), fail.s(), fail.s()).link(multiply.si(3, 3)).onError(onError.s()).applyAsync()
    await assert.rejects(result.get(SOON), /boom/)
    const [first, second, third] = result.results
    assert.ok(first && second && third)
    assert.deepEqual(await childValues(first, 1), [9])
    await childValues(second, 1)
    await childValues(third, 1)
    assert.deepEqual(told.sort(), [second.id, third.id].sort())
  })

  it('is skewed: its members start one after the other', async () => {
    await using w = await openWorld()
    const { ident } = declareSums(w.app)
    const result = await group(range(4).map((i) => ident.s(i)))
      .skew(1, 3)
      .applyAsync()
    const rows = await Promise.all(result.results.map(({ id }) => w.app.tasks.get(id)))
    assert.deepEqual(
      rows.map((row) => [row?.status, ((row?.eta?.getTime() ?? 0) - w.clock.now()) / 1000]),
      [1, 2, 3, 3].map((seconds) => ['SCHEDULED', seconds]),
    )
  })

  it('of chains sends workflows in bulk', async () => {
    await using w = await open()
    const { add, multiply } = declareSums(w.app)
    await using _ = working(w.app)
    const workflow = (i: number) => chain(add.s(i, 1), multiply.s(10))
    assert.deepEqual(await (await group(range(3).map(workflow)).applyAsync()).get(SOON), [10, 20, 30])
  })
})

describe('a chord', () => {
  it('gives its body the results of its header', async () => {
    await using w = await open()
    const { add, tsum, ident } = declareSums(w.app)
    await using _ = working(w.app)
    const result = await chord(
      range(10).map((i) => add.s(i, i)),
      tsum.s(),
    ).applyAsync()
    assert.equal(await result.get(SOON), 90)
    assert.ok(result.parent instanceof GroupResult)
    assert.deepEqual(
      await result.parent.get(SOON),
      range(10).map((i) => 2 * i),
    )
    assert.deepEqual(await (await chord([], ident.s()).applyAsync()).get(SOON), [])
    assert.deepEqual(await (await chord([add.s(1, 1)], ident.s()).applyAsync()).get(SOON), [2])
    assert.deepEqual(await (await group(add.s(1, 1)).pipe(ident.s()).applyAsync()).get(SOON), [2])
    assert.equal(await (await chord(group(add.s(1, 1), add.s(2, 2)), tsum.s()).applyAsync()).get(SOON), 6)
  })

  it('chained to another hands it the value of its body', async () => {
    await using w = await open()
    const { add, tsum } = declareSums(w.app)
    await using _ = working(w.app)
    const [first, second] = [chord([add.s(1, 1), add.s(2, 2)], tsum.s()), chord([add.s(1), add.s(2)], tsum.s())]
    assert.equal(await (await chain(first, second).applyAsync()).get(SOON), 15)
    assert.equal(await (await first.pipe(second).pipe(add.s(1)).applyAsync()).get(SOON), 16)
  })

  it('whose body is a group gives each of its members the list', async () => {
    await using w = await open()
    const { add, ident } = declareSums(w.app)
    await using _ = working(w.app)
    const result = await group(add.s(1, 1), add.s(2, 2)).pipe(group(ident.s(), ident.s())).applyAsync()
    assert.ok(result instanceof GroupResult)
    assert.deepEqual(await result.get(SOON), [
      [2, 4],
      [2, 4],
    ])
  })

  it('in the header of another is one element of its list', async () => {
    await using w = await open()
    const { add, tsum, ident } = declareSums(w.app)
    await using _ = working(w.app)
    const result = await chord([add.s(1, 1), chord([add.s(2, 2), add.s(3, 3)], tsum.s())], ident.s()).applyAsync()
    assert.deepEqual(await result.get(SOON), [2, 10])
  })
})

describe('map, starmap and chunks', () => {
  it('call a task for each item', async () => {
    await using w = await open()
    const { add, tsum, ident } = declareSums(w.app)
    await using _ = working(w.app)
    const pairs = range(10).map((i): [number, number] => [i, i])
    const doubles = range(10).map((i) => 2 * i)
    assert.deepEqual(await (await tsum.map([range(10), range(100)]).applyAsync()).get(SOON), [45, 4950])
    assert.deepEqual(await (await add.starmap(pairs).applyAsync()).get(SOON), doubles)
    assert.deepEqual(await (await add.chunks(pairs.slice(0, 5), 2).applyAsync()).get(SOON), [[0, 2], [4, 6], [8]])
    assert.deepEqual(await (await add.chunks(pairs.slice(0, 5), 2).group().pipe(ident.s()).applyAsync()).get(SOON), [[0, 2], [4, 6], [8]])
    assert.deepEqual(await (await chain(add.s(1, 1), add.starmap([[3, 4]]), tsum.s()).applyAsync()).get(SOON), 7)
  })

  it('fail as a whole with an item that fails, and with a task nobody knows', async () => {
    await using w = await open()
    const odd = w.app.task('odd', (n: number) => {
      if (n % 2 === 0) throw new RangeError(`${n} is even`)
      return n
    })
    await using _ = working(w.app)
    await assert.rejects(
      odd
        .map([1, 3, 4, 5])
        .applyAsync()
        .then((result) => result.get(SOON)),
      { name: 'RangeError', message: '4 is even' },
    )
    const unknown = w.app.signature({ task: 'celery.map', kwargs: { task: { task: 'nobody' }, it: [1] } })
    await assert.rejects(
      unknown.applyAsync().then((result) => result?.get(SOON)),
      { name: 'NotRegistered' },
    )
  })

  it('go on at the item that is to be retried', async () => {
    await using w = await open()
    const ran: number[] = []
    const once = w.app.task({ name: 'once', bind: true, maxRetries: 3, defaultRetryDelay: 0 }, (task, n: number) => {
      ran.push(n)
      if (n === 3 && ran.filter((one) => one === 3).length === 1) throw task.retry()
      return n * 10
    })
    const auto = w.app.task({ name: 'auto', autoretryFor: [RangeError], defaultRetryDelay: 0 }, (n: number) => {
      ran.push(n)
      if (ran.filter((one) => one === n).length === 1) throw new RangeError('again')
      return n
    })
    await using _ = working(w.app)
    assert.deepEqual(await (await once.map([1, 2, 3, 4]).applyAsync()).get(SOON), [10, 20, 30, 40])
    assert.deepEqual(ran.splice(0), [1, 2, 3, 3, 4])
    const chunks = await once.chunks([[1], [2], [3], [4], [5]], 4).applyAsync()
    assert.deepEqual(await chunks.get(SOON), [[10, 20, 30, 40], [50]])
    assert.deepEqual(ran.splice(0).sort(), [1, 2, 3, 3, 4, 5])
    assert.deepEqual(await (await auto.map([1, 2]).applyAsync()).get(SOON), [1, 2])
    assert.deepEqual(ran, [1, 1, 2, 2])
  })
})

describe('a workflow', () => {
  it('sent by a task is of its tree', async () => {
    await using w = await open()
    const { add } = declareSums(w.app)
    const outer = w.app.task('outer', async () => (await chain(add.s(1, 1), group(add.s(1), add.s(2))).applyAsync()).id)
    await using _ = working(w.app)
    const result = await outer.delay()
    const groupId = await result.get(SOON)
    const inner = await until(() => w.app.groupResult(groupId), 'the group')
    assert.deepEqual(await inner.get(SOON), [3, 4])
    const rows = await rowsOf(w)
    assert.deepEqual(new Set(rows.map(({ rootId }) => rootId)), new Set([result.id]))
    assert.equal(rows[1]?.parentId, result.id)
    const seen: unknown[] = []
    for await (const [{ id }, value] of result.collect(SOON)) seen.push([id === result.id, typeof value === 'number' ? value : null])
    assert.deepEqual(seen, [
      [true, null],
      [false, 2],
      [false, 3],
      [false, 4],
    ])
  })

  it('in the caller’s transaction is sent once that commits, and not at all when it does not', async () => {
    await using w = await open()
    const { add, tsum } = declareSums(w.app)
    const knex = await w.app.knex()
    const whole = chord([add.s(1, 1), add.s(2, 2)], tsum.s())
    const results: AsyncResult<number>[] = []
    await assert.rejects(
      knex.transaction(async (trx) => {
        results.push(await whole.applyAsync({ trx }))
        throw new Error('no')
      }),
      /no/,
    )
    assert.deepEqual([await w.app.tasks.list(), await w.app.groupResult(results[0]?.parent?.id ?? '')], [[], null])
    await using _ = working(w.app)
    const kept = await knex.transaction((trx) => whole.applyAsync({ trx }))
    assert.equal(await kept.get(SOON), 6)
  })

  it('runs in a task that replaces itself, and whose id has its value', async () => {
    await using w = await open()
    const { add, multiply, ident } = declareSums(w.app)
    const grow = w.app.task({ name: 'grow', bind: true }, (task, n: number): number => {
      throw task.replace(chain(add.s(n, 1), multiply.s(10)))
    })
    const fan = w.app.task({ name: 'fan', bind: true }, (task, n: number): number[] => {
      throw task.replace(group(add.s(n, 1), add.s(n, 2)))
    })
    await using _ = working(w.app)
    const result = await chain(add.s(1, 1), grow.s(), add.s(5)).applyAsync()
    assert.deepEqual([await result.get(SOON), await result.parent?.get(SOON), await result.parent?.successful()], [35, 30, true])
    const list = await chain(fan.s(2), ident.s()).applyAsync()
    assert.deepEqual(
      [await list.get(SOON), await list.parent?.get(SOON)],
      [
        [3, 4],
        [3, 4],
      ],
    )
  })

  it('is joined by what a member of a chord adds', async () => {
    await using w = await open()
    const { ident } = declareSums(w.app)
    const grow = w.app.task({ name: 'grow', bind: true }, (task, n: number): number => {
      task.addToChord(ident.s('added'))
      return n
    })
    await using _ = working(w.app)
    assert.deepEqual(await (await chord([grow.s(1), ident.s(2)], ident.s()).applyAsync()).get(SOON), [1, 2, 'added'])
  })
})

describe('the options of a workflow', () => {
  it('are for the first step of a chain, as in Celery', async () => {
    await using w = await openWorld()
    const { add } = declareSums(w.app)
    await chain(add.s(1, 1), add.s(1)).applyAsync({ expires: 60, queue: 'q', priority: 7 })
    const [first] = await w.app.tasks.list()
    assert.deepEqual([first?.expires?.getTime(), first?.queue, first?.priority], [w.clock.now() + 60_000, 'q', 7])
    const [next] = first?.options.chain ?? []
    assert.ok(next?.kind === 'task')
    assert.deepEqual([next.options.queue, next.options.expires, next.options.expiresAt], ['default', undefined, undefined])
  })

  it('are for every step with the scope every, and expires is then one instant', async () => {
    await using w = await openWorld()
    const { add, tsum } = declareSums(w.app)
    const every = { scope: 'every', expires: 60, queue: 'q', priority: 7, headers: { a: 1 }, timeLimit: 9, softTimeLimit: 8 } as const
    await chain(add.s(1, 1), chord([add.s(1), add.s(2)], tsum.s())).applyAsync(every)
    const [first] = await w.app.tasks.list()
    const [next] = first?.options.chain ?? []
    assert.ok(first && next?.kind === 'chord' && next.body.kind === 'task')
    assert.deepEqual([first.expires?.getTime(), first.queue, first.priority], [w.clock.now() + 60_000, 'q', 7])
    for (const task of [...next.header, next.body]) {
      assert.ok(task.kind === 'task')
      const { expiresAt, queue, priority, headers, timeLimit, softTimeLimit } = task.options
      assert.deepEqual([expiresAt, queue, priority, headers, timeLimit, softTimeLimit], [w.clock.now() + 60_000, 'q', 7, { a: 1 }, 9, 8])
    }
  })

  it('may set a deadline for the whole, and how long every result is kept', async () => {
    await using w = await open()
    const { add, tsum } = declareSums(w.app)
    const deadline = new Date(Date.now() + 60_000)
    {
      await using _ = working(w.app)
      const result = await chain(add.s(1, 1), group(add.s(1), add.s(2)), tsum.s()).applyAsync({
        workflowExpires: deadline,
        resultExpires: 7200,
      })
      assert.equal(await result.get(SOON), 7)
    }
    for (const row of await w.app.tasks.list()) {
      assert.equal(row.expires?.getTime(), deadline.getTime())
      assert.equal(row.resultExpiresAt?.getTime(), (row.finishedAt?.getTime() ?? 0) + 7_200_000)
    }
  })
})
