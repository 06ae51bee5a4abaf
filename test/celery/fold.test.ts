import assert from 'node:assert/strict'
import fc from 'fast-check'
import { decodeEvents, isOfTask, type TaskEvent } from '../../src/lib/celery/events.js'
import { foldEvents } from '../../src/lib/celery/fold.js'
import { setbacksIn } from '../../src/lib/celery/setbacks.js'
import type { WatchedTask } from '../../src/lib/celery/watched-task.js'
import {
  A,
  B,
  call,
  events,
  type Given,
  goldenEvents,
  LIVES,
  received,
  retried,
  sent,
  started,
  succeeded,
} from '../helpers/celery-events.js'

const fold = (of: readonly TaskEvent[], before: WatchedTask | null = null): WatchedTask =>
  foldEvents(before, of as [TaskEvent, ...TaskEvent[]])

const isOpen = (task: WatchedTask | null): boolean => task?.finishedAt === null

describe('the events of one task', () => {
  for (const [name, [given, end]] of Object.entries(LIVES)) {
    it(`that ${name} come to that, in any order and however often they come`, () => {
      const life = events(...given)
      const task = fold(life)
      assert.deepEqual(Object.fromEntries(Object.keys(end).map((key) => [key, task[key as keyof WatchedTask]])), end)
      const often = fc.shuffledSubarray([...life, ...life, ...life], { minLength: 3 * life.length })
      fc.assert(fc.property(often, (order) => assert.deepEqual(fold(order), task)))
      if (life.length <= 6) for (const order of permutations(life)) assert.deepEqual(fold(order), task)
    })

    it(`that ${name} come to that also when they come bit by bit`, () => {
      const life = events(...given)
      fc.assert(
        fc.property(fc.subarray(life.map((_, i) => i).slice(1)), (cuts) => {
          const bits = [0, ...cuts].map((from, i) => life.slice(from, cuts[i] ?? life.length))
          const come = bits.reduce<WatchedTask | null>((before, bit) => (before && !isOpen(before) ? before : fold(bit, before)), null)
          assert.deepEqual(come, fold(life))
        }),
      )
    })
  }

  it('as a real worker sent them come to what it did', () => {
    const of = new Map<string, TaskEvent[]>()
    for (const { body } of goldenEvents())
      for (const event of decodeEvents(body).events.filter(isOfTask)) of.set(event.id, [...(of.get(event.id) ?? []), event])
    const told = [...of.values()]
      .map((life) => fold(life))
      .map(({ task, status, args, result, error }) => [task, status, args.json, result?.json, error?.message])
    assert.deepEqual(told, [
      ['tasks.add', 'SUCCESS', '[2,2]', '4', undefined],
      [null, 'FAILURE', '{"repr":null}', undefined, 'boom'],
      [null, 'RETRY', '{"repr":null}', undefined, 'attempt 0'],
      [null, 'REVOKED', '{"repr":null}', undefined, 'terminated'],
    ])
  })

  it('show arguments of the newest attempt, and the name and the queue from whoever published it', () => {
    const shadowed: Given = ['task-received', 2, A, { ...call(0), name: 'shown as' }]
    const task = fold(events(shadowed, sent(1), retried(3), received(4, 1, A, '(3,)')))
    assert.deepEqual([task.task, task.queue, task.args.json, task.retries], ['tasks.add', 'sums', '[3]', 1])
    assert.equal(fold(events(shadowed)).task, 'shown as')
  })

  it('leave what was known of the arguments as it is, when they tell of the same attempt only', () => {
    const before = { ...fold(events(received(1))), args: { json: '["whole"]', exact: true } }
    assert.equal(fold(events(received(1, 0, A, "('cut...',)"), sent(1), started(2)), before).args.json, '["whole"]')
  })

  it('keep a value that cannot be read back as the text that was shown', () => {
    const task = fold(events(received(1, 0, A, '(<User: Ada>,)')))
    assert.deepEqual(task.args, { json: '{"repr":"(<User: Ada>,)"}', exact: false })
  })

  it('name what a task of the solo pool has raised, which only the traceback tells', () => {
    const stack = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\n'
    for (const [traceback, type, message] of [
      [`${stack}ValueError: boom\n`, 'ValueError', 'boom'],
      [
        `${stack}KeyError: 'a'\n\nDuring handling of the above exception, another exception occurred:\n\n${stack}shop.Error: two\nlines\n`,
        'Error',
        'two\nlines',
      ],
      [`${stack}RuntimeError\n`, 'RuntimeError', ''],
      ['nothing of the kind', 'ExceptionWithTraceback', ''],
    ]) {
      const { error } = fold(events(['task-failed', 1, A, { exception: 'ExceptionWithTraceback()', traceback }]))
      assert.deepEqual(error, { type, message, traceback })
    }
  })

  it('tell of the executions that did not end it', () => {
    const lines = setbacksIn(events(retried(6, B), retried(3), ['task-rejected', 4, A, { requeue: true }], succeeded(9)))
    assert.deepEqual(
      lines.map(({ kind, at, host }) => [kind, at, host]),
      [
        ['retry', 3000, A],
        ['rejected', 4000, A],
        ['retry', 6000, B],
      ],
    )
  })
})

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length < 2) return [[...items]]
  return items.flatMap((item, i) => permutations([...items.slice(0, i), ...items.slice(i + 1)]).map((rest) => [item, ...rest]))
}
