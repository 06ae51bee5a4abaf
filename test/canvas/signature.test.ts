import assert from 'node:assert/strict'
import { headerOf, immutable, merge, mergeOptions, signature, withErrback, withLink, withOptions } from '../../src/lib/canvas/signature.js'
import { a, add, addImmutable, b, c, chained, chorded, d, grouped, task } from './signatures.js'

const log = task('log')
const page = task('page')

describe('a signature', () => {
  it('is mutable and has nothing unless it is said', () => {
    assert.deepEqual(signature('add'), { kind: 'task', task: 'add', args: [], kwargs: {}, options: {}, immutable: false })
  })

  it('drops options that are undefined', () => {
    assert.deepEqual(signature('add', { options: JSON.parse('{}', () => ({ queue: undefined, priority: 1 })) }).options, { priority: 1 })
  })
})

describe('a partial call', () => {
  it('puts its args before the own, lets its kwargs and options win, and never changes an id that is set', () => {
    const own = signature('add', {
      args: [10],
      kwargs: { x: 1, y: 2 },
      options: { queue: 'a', priority: 1, taskId: 't', groupId: 'g', groupIndex: 0 },
    })
    const called = merge(own, { args: [1, 2], kwargs: { y: 3 }, options: { queue: 'b', taskId: 'u', groupId: 'h', groupIndex: 5 } })
    const options = { queue: 'b', priority: 1, taskId: 't', groupId: 'g', groupIndex: 0 }
    assert.deepEqual(called, signature('add', { args: [1, 2, 10], kwargs: { x: 1, y: 3 }, options })) // 82
  })

  it('leaves the arguments of an immutable signature alone, and merges its options', () => {
    const called = merge(addImmutable(4), { args: [1], kwargs: { x: 1 }, options: { queue: 'q' } })
    assert.deepEqual(called, signature('add', { args: [4], options: { queue: 'q' }, immutable: true })) // 83
  })

  it('leaves the signature it was made from alone', () => {
    const own = add(1)
    withOptions(withLink(merge(own, { args: [2], options: { queue: 'q' } }), a), { priority: 1 })
    assert.deepEqual(own, add(1)) // 84
  })

  it('of a chain goes to its first step, of a group to each member, of a chord to its header', () => {
    assert.deepEqual(merge(chained(add(1), add(2)), { args: [5] }), chained(add(5, 1), add(2)))
    assert.deepEqual(
      merge(grouped(add(1), addImmutable(2), chained(add(3), add(4))), { args: [5] }),
      grouped(add(5, 1), addImmutable(2), chained(add(5, 3), add(4))),
    ) // 102
    assert.deepEqual(merge(chorded([add(1), add(2)], add(3)), { args: [5] }), chorded([add(5, 1), add(5, 2)], add(3)))
  })

  it('of a chain passes by an empty chain in front', () => {
    assert.deepEqual(merge(chained(chained(), add(1)), { args: [5] }), chained(chained(), add(5, 1)))
    assert.deepEqual(merge(chained(), { args: [5] }), chained())
  })

  it('that gives a deadline or a delay in one form takes back the other form', () => {
    assert.deepEqual(mergeOptions({ expires: 5, eta: 9, queue: 'q' }, { expiresAt: 7, countdown: 1 }), {
      queue: 'q',
      expiresAt: 7,
      countdown: 1,
    })
    assert.deepEqual(mergeOptions({ expiresAt: 5, countdown: 9 }, { expires: 7, eta: 1 }), { expires: 7, eta: 1 })
  })

  it('replaces the callbacks of a task', () => {
    assert.deepEqual(merge(task('a', [], { link: [b] }), { options: { link: [c] } }), task('a', [], { link: [c] }))
  })
})

describe('set', () => {
  it('puts options where a call of the whole would', () => {
    const q = { queue: 'q' }
    assert.deepEqual(withOptions(chained(a, b), q), chained(task('a', [], q), b))
    assert.deepEqual(withOptions(grouped(a, chained(b, c)), q), grouped(task('a', [], q), chained(task('b', [], q), c)))
    assert.deepEqual(withOptions(chorded([a], chained(b, c)), q), chorded([task('a', [], q)], chained(task('b', [], q), c)))
  })

  it('puts an id, callbacks and errbacks where the result of the whole is', () => {
    const options = { taskId: 'id', link: [d], linkError: [log] }
    assert.deepEqual(withOptions(chained(a, b), options), chained(task('a', [], { linkError: [log] }), task('b', [], options)))
    assert.deepEqual(withOptions(chorded([a], b), options), { ...chorded([a], task('b', [], options)), linkError: [log] })
    assert.deepEqual(withOptions(grouped(a), { taskId: 'id' }), { ...grouped(a), groupId: 'id' })
  })

  it('leaves an id that is set', () => {
    assert.deepEqual(withOptions({ ...grouped(a), groupId: 'g' }, { taskId: 'id' }), { ...grouped(a), groupId: 'g' })
    assert.deepEqual(withOptions(chained(task('a', [], { taskId: 't' })), { taskId: 'id' }), chained(task('a', [], { taskId: 't' })))
  })
})

describe('a callback', () => {
  it('is linked once', () => {
    assert.deepEqual(withLink(withLink(withLink(a, b), c), task('b')), task('a', [], { link: [b, c] }))
  })

  it('of a chain is linked to its last step', () => {
    assert.deepEqual(withLink(chained(a, b), c), chained(a, task('b', [], { link: [c] }))) // 89
  })

  it('of a group is linked to its first member, immutable', () => {
    assert.deepEqual(withLink(grouped(a, b), add(1)), grouped(task('a', [], { link: [addImmutable(1)] }), b)) // 101
    assert.deepEqual(withLink(grouped(), b), grouped())
  })

  it('of a chord is linked to its body', () => {
    assert.deepEqual(withLink(chorded([a], chained(b, c)), d), chorded([a], chained(b, task('c', [], { link: [d] }))))
  })
})

describe('an errback', () => {
  const watched = (name: string) => task(name, [], { linkError: [log] })

  it('is linked once', () => {
    assert.deepEqual(withErrback(withErrback(withErrback(a, log), page), task('log')), task('a', [], { linkError: [log, page] }))
  })

  it('of a chain is linked to every step, in a chord to its body', () => {
    assert.deepEqual(
      withErrback(chained(a, b, chorded([c], d)), log),
      chained(watched('a'), watched('b'), { ...chorded([c], watched('d')), linkError: [log] }),
    )
  })

  it('of a chain within a chain is linked to the inner steps only', () => {
    assert.deepEqual(chained(a, withErrback(chained(b, c), log)), chained(a, chained(watched('b'), watched('c')))) // 88
  })

  it('of a group is linked to each member', () => {
    assert.deepEqual(withErrback(grouped(a, chained(b, c)), log), grouped(watched('a'), chained(watched('b'), watched('c')))) // 101
  })

  it('of a chord is linked to its body, and remembered once for the header', () => {
    const chord = chorded([a], watched('b'))
    assert.deepEqual(withErrback(withErrback(chorded([a], b), log), task('log')), { ...chord, linkError: [log] })
    assert.deepEqual(headerOf(chord), [a]) // its own body has it: it is not of the whole
  })

  it('of a chord is on every task of a header that gets it, and a chord in the header remembers it', () => {
    const whole = withErrback(chorded([chained(a, b), chorded([c], d)], b), log)
    assert.ok(whole.kind === 'chord')
    assert.deepEqual(headerOf(whole), [chained(watched('a'), watched('b')), { ...chorded([c], watched('d')), linkError: [log] }]) // 117
  })

  it('that is a workflow is made immutable where it begins', () => {
    assert.deepEqual(immutable(chained(add(1), add(2))), chained(addImmutable(1), add(2)))
    assert.deepEqual(immutable(chorded([add(1)], add(2))), chorded([addImmutable(1)], add(2)))
  })
})
