import assert from 'node:assert/strict'
import fc from 'fast-check'
import { chain, chord, group, normalise, pipe, skew } from '../../src/lib/canvas/compose.js'
import { withErrback } from '../../src/lib/canvas/signature.js'
import type { Canvas } from '../../src/lib/task/signature.js'
import { anyCanvas } from './random-canvas.js'
import { a, b, c, chained, chorded, d, grouped, task } from './signatures.js'

const [e, f] = [task('e'), task('f')]
const nothing = grouped()

/** What `left | right` is. The lines are those of Celery's table (115). */
const PIPES: readonly (readonly [string, Canvas, Canvas, Canvas])[] = [
  ['task | task', a, b, chained(a, b)],
  ['task | chain', a, chained(b, c), chained(a, b, c)],
  ['task | group of one', a, grouped(b), chained(a, b)],
  ['task | group of one chain', a, grouped(chained(b, c)), chained(a, b, c)],
  ['task | group', a, grouped(b, c), chained(a, grouped(b, c))],
  ['task | chord', a, chorded([b], c), chained(a, chorded([b], c))],
  ['chain | task', chained(a, b), c, chained(a, b, c)],
  ['chain | chain', chained(a, b), chained(c, d), chained(a, b, c, d)],
  ['chain | group of one', chained(a), grouped(b), chained(a, b)],
  ['chain | group', chained(a), grouped(b, c), chained(a, grouped(b, c))],
  ['chain ending in group | task', chained(a, grouped(b, c)), d, chained(a, chorded([b, c], d))],
  [
    'chain ending in chord and group | task',
    chained(chorded([a], b), grouped(c, d)),
    e,
    chained(chorded([a], chained(b, chorded([c, d], e)))),
  ],
  ['chain ending in group | group', chained(a, grouped(b, c)), grouped(d, e), chained(a, chorded([b, c], grouped(d, e)))],
  ['chain ending in chord | task', chained(a, chorded([b], c)), d, chained(a, chorded([b], chained(c, d)))],
  ['chain ending in chord | group', chained(a, chorded([b], c)), grouped(d, e), chained(a, chorded([b], chained(c, grouped(d, e))))],
  ['empty chain | task', chained(), a, chained(a)],
  ['empty chain | group', chained(), grouped(a, b), grouped(a, b)],
  ['empty chain | group of one', chained(), grouped(a), chained(a)],
  ['group | task', grouped(a, b), c, chorded([a, b], c)],
  ['group of one | task', grouped(a), b, chorded([a], b)],
  ['group | chain', grouped(a, b), chained(c, d), chorded([a, b], chained(c, d))],
  ['group | group', grouped(a, b), grouped(c, d), chorded([a, b], grouped(c, d))], // 114
  ['group | chord', grouped(a, b), chorded([c], d), chorded([a, b], chorded([c], d))],
  ['group | empty group', grouped(a, b), nothing, grouped(a, b)],
  ['empty group | task', nothing, a, chorded([], a)],
  ['chord | task', chorded([a], b), c, chorded([a], chained(b, c))],
  ['chord | group of one', chorded([a], b), grouped(c), chorded([a], chained(b, c))],
  ['chord | chain', chorded([a], b), chained(c, d), chained(chorded([a], b), c, d)],
  ['chord | group', chorded([a], b), grouped(c, d), chained(chorded([a], b), grouped(c, d))],
  ['chord with a group for its body | task', chorded([a], grouped(b, c)), d, chorded([a], chorded([b, c], d))],
  ['task | empty group', a, nothing, a],
  ['chain | empty group', chained(a, b), nothing, chained(a, b)],
]

describe('one after the other', () => {
  for (const [name, left, right, whole] of PIPES) {
    it(name, () => assert.deepEqual(pipe(left, right), whole))
  }

  it('keeps the id of a group that was frozen', () => {
    assert.deepEqual(pipe({ ...grouped(a, b), groupId: 'g' }, c), { ...chorded([a, b], c), groupId: 'g' })
  })
})

describe('a chain', () => {
  it('is its parts, one piped into the next', () => {
    assert.deepEqual(chain([a, b, c]), chained(a, b, c))
    assert.deepEqual(chain([a, grouped(b, c), d, e]), chained(a, chorded([b, c], chained(d, e)))) // 115
    assert.deepEqual(chain([a, chain([b, c]), d]), chained(a, b, c, d)) // 87
  })

  it('that begins with a group is a chord', () => {
    assert.deepEqual(chain([grouped(a, b), c]), chorded([a, b], c))
  })

  it('of one is a chain of one, of none is empty', () => {
    assert.deepEqual(chain([a]), chained(a)) // 93
    assert.deepEqual(chain([]), chained())
  })

  it('has a group of one as that one', () => {
    assert.deepEqual(chain([grouped(a), b]), chained(a, b)) // 113
    assert.deepEqual(chain([grouped(a)]), chained(a))
  })

  it('keeps an errback of an inner chain on the inner steps', () => {
    const watched = (name: string) => task(name, [], { linkError: [f] })
    assert.deepEqual(chain([a, withErrback(chain([b, c]), f), d]), chained(a, watched('b'), watched('c'), d)) // 88
  })
})

describe('a chord', () => {
  it('has a list, a group or one workflow for its header', () => {
    assert.deepEqual(chord([a, b], c), chorded([a, b], c))
    assert.deepEqual(chord({ ...group([a, b]), groupId: 'g' }, c), { ...chorded([a, b], c), groupId: 'g' })
    assert.deepEqual(chord(chained(a, b), c), chorded([chained(a, b)], c))
  })
})

describe('a skewed group', () => {
  const countdowns = (canvas: Canvas & { kind: 'group' }) => canvas.members.map((one) => one.kind === 'task' && one.options.countdown)

  it('starts its members one after the other, the last of them together', () => {
    assert.deepEqual(countdowns(skew(group([a, b, c, d]), { start: 1, stop: 3, step: 1 })), [1, 2, 3, 3]) // 105
    assert.deepEqual(countdowns(skew(group([a, b, c]), { start: 0, stop: 2.5, step: 2 })), [0, 2, 2])
    assert.deepEqual(countdowns(skew(group([a, b, c]))), [1, 2, 3])
  })

  it('delays the first step of a chain', () => {
    assert.deepEqual(skew(group([chained(a, b)])), grouped(chained(task('a', [], { countdown: 1 }), b)))
  })
})

describe('the normal form of a workflow', () => {
  const becomes = (canvas: Canvas, normal: Canvas) => assert.deepEqual(normalise(canvas), normal)

  it('has no chain in a chain, and no chain of one', () => {
    becomes(chained(a, chained(b, chained(c)), d), chained(a, b, c, d))
    becomes(chained(chained(a)), a)
    becomes(chained(chained(), chained()), chained())
  })

  it('has a chord where something follows a group', () => {
    becomes(chained(a, grouped(b, c), d, e), chained(a, chorded([b, c], chained(d, e))))
    becomes(chained(grouped(a, b), grouped(c, d), e), chorded([a, b], chorded([c, d], e)))
  })

  it('has in the body of a chord what follows the chord', () => {
    becomes(chained(chorded([a], b), c, grouped(d, e)), chorded([a], chained(b, c, grouped(d, e))))
    becomes(chained(chorded([a], grouped(b, c)), d), chorded([a], chorded([b, c], d)))
    becomes(chained(chorded([a], chorded([b], c)), d), chorded([a], chorded([b], chained(c, d))))
  })

  it('ends in the group a chain ends in', () => becomes(chained(a, grouped(b, c)), chained(a, grouped(b, c))))

  it('has a group of one in a chain as that one, and elsewhere as a group', () => {
    becomes(chained(a, grouped(b), c), chained(a, b, c)) // 113
    becomes(chained(grouped(grouped(a), nothing), b), chained(a, b))
    becomes(grouped(a), grouped(a))
    becomes(chorded([a], grouped(b)), chorded([a], grouped(b)))
  })

  it('has no group in a group, and its members in their order', () => {
    becomes(grouped(a, grouped(b, grouped(c)), d), grouped(a, b, c, d)) // 103
    becomes(chorded([a, grouped(b, c), chained(d)], e), chorded([a, b, c, d], e))
    becomes(grouped(chained(a, grouped(b, c)), d), grouped(chained(a, grouped(b, c)), d))
  })

  it('has no empty group in a chain, unless nothing is before it: what follows gets []', () => {
    becomes(chained(a, nothing, b), chained(a, b))
    becomes(chained(a, nothing), a)
    becomes(chained(nothing, a), chorded([], a))
    becomes(chained(nothing), nothing)
  })

  it('of a chord with an empty body is the header', () => {
    becomes({ ...chorded([a, b], chained()), groupId: 'g' }, { ...grouped(a, b), groupId: 'g' })
    becomes(chorded([a, b], nothing), grouped(a, b))
  })

  it('is the same whether the chain was piped together or written out', () => {
    const composed = (canvas: Canvas): Canvas => {
      if (canvas.kind === 'chain') return chain(canvas.steps.map(composed))
      if (canvas.kind === 'group') return group(canvas.members.map(composed))
      return canvas.kind === 'chord' ? chord(canvas.header.map(composed), composed(canvas.body)) : canvas
    }
    const steps = fc.array(anyCanvas.map(composed), { maxLength: 4 })
    fc.assert(fc.property(steps, (parts) => assert.deepEqual(normalise(chain(parts)), normalise({ kind: 'chain', steps: parts }))))
  })
})
