import assert from 'node:assert/strict'
import fc from 'fast-check'
import { freeze, freezeInto, groupsOf, leaves, refreeze, resultId, tasksOf } from '../../src/lib/canvas/freeze.js'
import { withErrback, withLink } from '../../src/lib/canvas/signature.js'
import type { Canvas, TaskSignature } from '../../src/lib/task/signature.js'
import { counting } from './interpreter.js'
import { anyCanvas } from './random-canvas.js'
import { a, b, c, chained, chorded, d, grouped, task } from './signatures.js'

const placeOf = ({ task: name, options: { groupId, groupIndex } }: TaskSignature): string =>
  `${name} ${groupId ?? '-'} ${groupIndex ?? '-'}`

const places = (canvas: Canvas): string[] => tasksOf(freeze(canvas, counting())).map(placeOf)

describe('a frozen workflow', () => {
  it('has an id for each task and each group, in the order in which they are sent', () => {
    assert.deepEqual(freeze(chained(a, chorded([b, c], d)), counting()), {
      kind: 'chain',
      steps: [
        task('a', [], { taskId: '1' }),
        {
          kind: 'chord',
          header: [
            task('b', [], { taskId: '3', groupId: '2', groupIndex: 0 }),
            task('c', [], { taskId: '4', groupId: '2', groupIndex: 1 }),
          ],
          body: task('d', [], { taskId: '5' }),
          groupId: '2',
        },
      ],
    })
  })

  it('stays what it is when it is frozen again', () => {
    fc.assert(
      fc.property(anyCanvas, (canvas) => {
        const once = freeze(canvas, counting())
        assert.deepEqual(
          freeze(once, () => assert.fail('a new id')),
          once,
        ) // 85
      }),
    )
  })

  it('keeps the ids it was given', () => {
    assert.equal(resultId(freeze(task('a', [], { taskId: 'mine' }), counting())), 'mine') // 85
    assert.deepEqual(freeze({ ...grouped(task('a', [], { taskId: 'x' })), groupId: 'g' }, counting()), {
      ...grouped(task('a', [], { taskId: 'x', groupId: 'g', groupIndex: 0 })),
      groupId: 'g',
    })
  })

  it('leaves callbacks and errbacks to be frozen when they are sent', () => {
    const { options } = leaves(freeze(withErrback(withLink(a, b), c), counting()))[0] ?? a
    assert.deepEqual([options.link, options.linkError], [[b], [c]])
  })

  it('numbers the members of nested groups without a gap and in their order', () => {
    assert.deepEqual(places(grouped(a, grouped(b, c), d)), ['a 1 0', 'b 1 1', 'c 1 2', 'd 1 3']) // 103, 104
    assert.deepEqual(places(chorded([a, grouped(b, c)], d)), ['a 1 0', 'b 1 1', 'c 1 2', 'd - -'])
  })

  it('counts of a member chain its last step, of a member chord its body, of a chain that ends in a group the members of that', () => {
    assert.deepEqual(places(grouped(chained(a, b), c)), ['a - -', 'b 1 0', 'c 1 1'])
    assert.deepEqual(places(grouped(chorded([a], chained(b, c)), d)), ['a 2 0', 'b - -', 'c 1 0', 'd 1 1']) // 126
    assert.deepEqual(places(grouped(chained(a, grouped(b, c)), d)), ['a - -', 'b 1 0', 'c 1 1', 'd 1 2'])
  })

  it('gives every leaf of a group one place there: the places are 0 to their number', () => {
    fc.assert(
      fc.property(anyCanvas, (canvas) => {
        for (const group of groupsOf(freeze(canvas, counting()))) {
          const counted = (group.kind === 'group' ? group.members : group.header).flatMap(leaves)
          const indices = counted.map(({ options }) => options.groupIndex)
          if (group.groupId === undefined) continue
          assert.ok(counted.every(({ options }) => options.groupId === group.groupId))
          assert.deepEqual(indices, [...indices.keys()]) // 104
        }
      }),
    )
  })

  it('refuses a task that counts in another group', () => {
    const newId = counting()
    const inner = freeze(grouped(a, b), newId)
    assert.throws(() => freeze(grouped(inner, c), newId), /^UsageError: a 2 counts in the group 1 already/)
  })
})

describe('the result of a workflow', () => {
  const idOf = (canvas: Canvas) => resultId(freeze(canvas, counting()))

  it("is found under the last step's id, the group's or the body's", () => {
    assert.equal(idOf(a), '1')
    assert.equal(idOf(chained(a, b)), '2')
    assert.equal(idOf(grouped(a, b)), '1')
    assert.equal(idOf(chained(a, grouped(b, c))), '2')
    assert.equal(idOf(chorded([a, b], chained(c, d))), '5')
  })

  it('of an empty chain is found nowhere, of an empty group under its id', () => {
    assert.equal(idOf(chained()), null) // 93
    assert.equal(idOf(grouped()), '1') // 99
  })
})

describe('what joins a group that is there', () => {
  it('takes the places from a number on', () => {
    const joined = freezeInto(chained(a, grouped(b, c)), { groupId: 'g', from: 4 }, counting())
    assert.deepEqual(tasksOf(joined).map(placeOf), ['a - -', 'b g 4', 'c g 5'])
    assert.equal(resultId(joined), null)
    assert.deepEqual(freeze(joined, counting()), joined)
  })
})

describe('a workflow that is frozen anew', () => {
  it('has no id of the old one, and the same shape', () => {
    fc.assert(
      fc.property(anyCanvas, (canvas) => {
        const newId = counting()
        const old = freeze(canvas, newId)
        const { canvas: fresh, ids } = refreeze(old, newId)
        const back = new Map([...ids].map(([from, to]) => [to, from]))
        const idsOf = (one: Canvas) => [
          ...tasksOf(one).map(({ options }) => options.taskId ?? ''),
          ...groupsOf(one).flatMap(({ groupId }) => groupId ?? []),
        ]
        assert.deepEqual(
          idsOf(fresh).map((id) => back.get(id)),
          idsOf(old),
        )
        assert.deepEqual(
          tasksOf(fresh).map(({ options }) => back.get(options.groupId ?? '')),
          tasksOf(old).map(({ options }) => options.groupId),
        )
        assert.deepEqual(refreeze(fresh, () => 'x').ids.size, ids.size)
      }),
    )
  })

  it('keeps its place in a group that is not of it, and renames its frozen callbacks', () => {
    const callback = task('c', [], { taskId: 'old' })
    const old = task('a', [], { taskId: '1', groupId: 'outer', groupIndex: 3, link: [callback, b], linkError: [callback] })
    const { canvas, ids } = refreeze(old, counting())
    const renamed = task('c', [], { taskId: '2' })
    assert.deepEqual(canvas, task('a', [], { taskId: '1', groupId: 'outer', groupIndex: 3, link: [renamed, b], linkError: [renamed] }))
    assert.deepEqual(
      [...ids],
      [
        ['1', '1'],
        ['old', '2'],
      ],
    )
  })
})
