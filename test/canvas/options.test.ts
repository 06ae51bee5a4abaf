import assert from 'node:assert/strict'
import { freeze, resultId, tasksOf } from '../../src/lib/canvas/freeze.js'
import { applyOptions, type OptionScope } from '../../src/lib/canvas/options.js'
import type { Canvas, SignatureOptions, TaskSignature } from '../../src/lib/task/signature.js'
import { counting } from './interpreter.js'
import { a, b, c, chained, chorded, d, grouped, task } from './signatures.js'

const log = task('log')

/** The tasks of the workflow that have the options, by their names. */
function reached(canvas: Canvas, options: SignatureOptions, scope: OptionScope = 'first'): string {
  const has = ({ options: own }: TaskSignature) => Object.keys(options).every((name) => Object.hasOwn(own, name))
  return tasksOf(applyOptions(canvas, options, scope))
    .filter(has)
    .map((one) => one.task)
    .join('')
}

const CHAIN = chained(a, b, c)
const GROUP = grouped(a, chained(b, c))
const CHORD = chorded([a, b], chained(c, d))

describe('the options of a call', () => {
  const EXECUTION: readonly SignatureOptions[] = [
    { expires: 60 },
    { countdown: 1 },
    { eta: 1 },
    { queue: 'q' },
    { priority: 1 },
    { headers: {} },
    { softTimeLimit: 1, timeLimit: 2 },
    { ignoreResult: true },
  ]

  for (const options of EXECUTION) {
    it(`reach the first step of a chain, the members of a group, the header and the body of a chord: ${Object.keys(options)}`, () => {
      assert.deepEqual(
        [CHAIN, GROUP, CHORD].map((canvas) => reached(canvas, options)),
        ['a', 'ab', 'abc'],
      ) // 94
    })
  }

  it('reach every step when that is asked', () => {
    const everywhere: readonly SignatureOptions[] = [
      { queue: 'q' },
      { priority: 1 },
      { headers: {} },
      { softTimeLimit: 1, timeLimit: 2 },
      { expiresAt: 1 },
      { resultExpires: 1 },
    ]
    for (const options of everywhere) {
      assert.deepEqual(
        [CHAIN, GROUP, CHORD].map((canvas) => reached(canvas, options, 'every')),
        ['abc', 'abc', 'abcd'],
      ) // 95
    }
  })

  it('delay the first step alone, whatever is asked', () => {
    assert.deepEqual([reached(CHAIN, { countdown: 1 }, 'every'), reached(CHAIN, { eta: 1 }, 'every')], ['a', 'a'])
  })

  it('keep every result as long as is said', () => {
    assert.deepEqual(
      [CHAIN, GROUP, CHORD].map((canvas) => reached(canvas, { resultExpires: 1 })),
      ['abc', 'abc', 'abcd'],
    )
  })

  it("win over the signatures' own", () => {
    const own = chained(task('a', [], { queue: 'a', expires: 1 }), task('b', [], { queue: 'b' }))
    assert.deepEqual(
      applyOptions(own, { queue: 'q', expiresAt: 7 }, 'first'),
      chained(task('a', [], { queue: 'q', expiresAt: 7 }), task('b', [], { queue: 'b' })),
    )
  })

  it('give the id of the result: that of the last step, the group, the body', () => {
    const ids = [a, CHAIN, GROUP, CHORD, chained(a, grouped(b, c)), chained(grouped(a, b), c), chained(a, grouped(b))]
    for (const canvas of ids) {
      assert.equal(resultId(freeze(applyOptions(canvas, { taskId: 'id' }, 'first'), counting())), 'id')
    }
  })

  it('never give a place in a group', () => {
    assert.deepEqual(applyOptions(a, { groupId: 'g', groupIndex: 1 }, 'first'), a)
  })
})

describe('the callbacks of a call', () => {
  const linked = (canvas: Canvas) => reached(applyOptions(canvas, { link: [d] }, 'first'), { link: [] })

  it('are added where the result is: the last step, the body', () => {
    assert.equal(linked(CHAIN), 'c') // 89
    assert.equal(linked(CHORD), 'd')
    assert.deepEqual(applyOptions(task('a', [], { link: [b] }), { link: [c] }, 'first'), task('a', [], { link: [b, c] }))
  })

  it('have no place in a group', () => {
    const text = new TypeError('Cannot add link to group: use a chord')
    for (const canvas of [GROUP, chained(GROUP), chained(a, GROUP), chorded([a], GROUP), grouped()]) {
      assert.throws(() => applyOptions(canvas, { link: [d] }, 'first'), text) // 100
    }
  })
})

describe('the errbacks of a call', () => {
  const watched = (canvas: Canvas) => reached(applyOptions(canvas, { linkError: [log] }, 'first'), { linkError: [] })

  it('are added to every step of a chain, in a chord to its body', () => {
    assert.equal(watched(CHAIN), 'abc')
    assert.equal(watched(chained(a, chorded([b], c))), 'ac')
    assert.equal(watched(chained(a, grouped(b, c))), 'abc')
  })

  it('are added to the body of a chord, which may have been written as a chain', () => {
    assert.equal(watched(CHORD), 'cd') // 120
    assert.equal(watched(chained(grouped(a, b), c)), 'c') // 121
  })

  it('have no place in a group', () => {
    assert.throws(
      () => applyOptions(GROUP, { linkError: [log] }, 'first'),
      new TypeError('Cannot add link to group: do that on individual tasks'),
    ) // 100
  })
})
