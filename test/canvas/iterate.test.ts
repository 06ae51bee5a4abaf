import assert from 'node:assert/strict'
import { toCelery } from '../../src/lib/canvas/celery-form.js'
import { normalise, pipe } from '../../src/lib/canvas/compose.js'
import { accumulate, accumulated, chunks, itemCalls, map, STARMAP, starmap } from '../../src/lib/canvas/iterate.js'
import { merge, signature } from '../../src/lib/canvas/signature.js'
import { a, add, chorded, task } from './signatures.js'

const pairs = [0, 1, 2, 3, 4].map((n) => [n, n])

describe('map and starmap', () => {
  it('are one task each that calls another for every item', () => {
    assert.deepEqual(
      toCelery(
        starmap(add(), [
          [1, 2],
          [3, 4],
        ]),
      ),
      {
        task: 'celery.starmap',
        args: [],
        kwargs: {
          task: toCelery(add()),
          it: [
            [1, 2],
            [3, 4],
          ],
        },
        options: {},
        subtask_type: null,
        immutable: true,
      },
    ) // 132
    assert.equal(map(add(), [1]).task, 'celery.map')
  })

  it('go where the task goes that they call', () => {
    assert.deepEqual(map(task('add', [], { queue: 'q', priority: 3 }), [1]).options, { queue: 'q' })
  })

  it('take nothing from elsewhere', () => {
    assert.deepEqual(merge(map(add(), [1]), { args: [9], kwargs: { it: [] } }), map(add(), [1]))
  })
})

describe('the calls of a map', () => {
  const callsOf = (one: ReturnType<typeof map>) => itemCalls(one.task, one.kwargs)

  it('have an item each, before the own arguments of the task', () => {
    assert.deepEqual(
      callsOf(map(add(10), [1, [2, 3]])).map(({ args }) => args),
      [
        [1, 10],
        [[2, 3], 10],
      ],
    )
    assert.deepEqual(
      callsOf(starmap(add(10), [[1, 2], []])).map(({ args }) => args),
      [[1, 2, 10], [10]],
    ) // 132
    assert.deepEqual(callsOf(map(signature('mail', { kwargs: { x: 1 } }), ['y'])), [{ task: 'mail', args: ['y'], kwargs: { x: 1 } }])
  })

  it('are refused with the place of what is wrong', () => {
    const inner = toCelery(add())
    assert.throws(
      () => itemCalls(STARMAP, { task: inner, it: [[1], 2] }),
      /^UsageError: kwargs\.it\[1]: expected an array of arguments, got: 2/,
    )
    assert.throws(() => itemCalls(STARMAP, { task: inner }), /kwargs\.it: expected an array, got: undefined/)
    assert.throws(() => itemCalls(STARMAP, { it: [] }), /kwargs\.task: expected a signature/)
    assert.throws(
      () => itemCalls(STARMAP, { task: toCelery(chorded([a], a)), it: [] }),
      /kwargs\.task: expected a single task, got: a chord/,
    )
  })
})

describe('chunks', () => {
  it('are a group of starmaps with up to n items each', () => {
    assert.deepEqual(chunks(add(), pairs, 2).members, [
      starmap(add(), pairs.slice(0, 2)),
      starmap(add(), pairs.slice(2, 4)),
      starmap(add(), pairs.slice(4)),
    ]) // 133
    assert.deepEqual(chunks(add(), [], 2).members, [])
  })

  it('may be the header of a chord', () => {
    const group = chunks(add(), pairs, 2)
    assert.deepEqual(normalise(pipe(group, a)), chorded(group.members, a)) // 133
  })

  it('have at least one item', () => {
    for (const n of [0, -1, 1.5, Number.NaN])
      assert.throws(() => chunks(add(), pairs, n), /^UsageError: chunks: expected a whole number of items above 0/)
  })
})

describe('accumulate', () => {
  it('answers the argument at its index, or all of them', () => {
    assert.deepEqual(accumulate().kwargs, { index: 0 })
    assert.deepEqual(accumulated([[3, 4]], 0), [3, 4])
    assert.deepEqual(accumulated([3, 4], undefined), [3, 4])
    assert.equal(accumulated([], 0), null)
  })
})
