import assert from 'node:assert/strict'
import { replacement } from '../../src/lib/canvas/continuation.js'
import { leaves, tasksOf } from '../../src/lib/canvas/freeze.js'
import { begin } from '../../src/lib/canvas/launch.js'
import { withErrback, withLink } from '../../src/lib/canvas/signature.js'
import type { TaskMessage } from '../../src/lib/task/message.js'
import type { Canvas } from '../../src/lib/task/signature.js'
import { counting, NOW } from './interpreter.js'
import { a, add, b, c, chained, chorded, d, grouped, task } from './signatures.js'

const log = task('log')

/** What stands for the first task of `host` once that has been replaced. */
function replaced(host: Canvas, canvas: Canvas): { whole: Canvas; message: TaskMessage } {
  const newId = counting()
  const [message] = begin(host, [], {
    rootId: null,
    parentId: null,
    deadline: null,
    now: NOW,
    newId,
    defaultQueue: 'default',
    routes: {},
  }).messages
  assert.ok(message)
  return { whole: replacement(message, canvas, newId), message }
}

/** Without its ids. */
const shape = (canvas: Canvas): Canvas =>
  JSON.parse(JSON.stringify(canvas), (key, value) => (['taskId', 'groupId', 'groupIndex'].includes(key) ? undefined : value))

const accumulate = { ...task('celery.accumulate'), kwargs: { index: 0 } }

describe('what a task is replaced by', () => {
  it('is followed by all that would have followed the task, under the ids it has', () => {
    const { whole, message } = replaced(chained(a, b, c), chained(add(1), add(2)))
    assert.deepEqual(shape(whole), chained(add(1), add(2), b, c)) // 130
    assert.ok(whole.kind === 'chain')
    assert.deepEqual(whole.steps.slice(2), message.options.chain)
  })

  it('has ids of its own', () => {
    assert.deepEqual(
      tasksOf(replaced(chained(a, b), c).whole).map(({ options }) => options.taskId),
      ['3', '2'],
    )
  })

  it('is the list of its results where it is a group', () => {
    assert.deepEqual(shape(replaced(chained(a, b), grouped(c, d)).whole), chorded([c, d], chained(accumulate, b))) // 130
    assert.deepEqual(shape(replaced(a, grouped(c)).whole), chorded([c], accumulate))
    assert.deepEqual(shape(replaced(a, chained(b, grouped(c, d))).whole), chained(b, chorded([c, d], accumulate)))
    assert.deepEqual(shape(replaced(a, grouped()).whole), chorded([], accumulate))
  })

  it("has the task's callbacks on its last step and its errbacks on every step, and those of the steps behind stay there", () => {
    const host = chained(withErrback(withLink(a, b), log), withErrback(c, log))
    const { whole } = replaced(host, chained(add(1), add(2)))
    const linkError = [log]
    assert.deepEqual(
      shape(whole),
      chained(task('add', [1], { linkError }), task('add', [2], { link: [b], linkError }), task('c', [], { linkError })),
    )
  })

  it('takes the place the task has in its group', () => {
    for (const canvas of [b, chained(b, c), grouped(b, c), chorded([b], c)]) {
      const { whole, message } = replaced(grouped(a, d), canvas)
      const places = leaves(whole).map(({ options }) => [options.groupId, options.groupIndex])
      assert.deepEqual(places, [[message.groupId, message.groupIndex]])
    }
  })

  it('leaves the places behind it to the steps that have them', () => {
    const { whole } = replaced(grouped(chained(a, grouped(b, c)), d), add(1))
    assert.deepEqual(
      leaves(whole).map(({ options }) => [options.groupId, options.groupIndex]),
      [
        ['1', 0],
        ['1', 1],
      ],
    )
  })

  it('is not an empty chain', () => {
    assert.throws(() => replaced(a, chained()), /^UsageError: a task cannot be replaced by an empty chain/)
  })
})
