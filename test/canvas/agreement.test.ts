import assert from 'node:assert/strict'
import fc from 'fast-check'
import { normalise } from '../../src/lib/canvas/compose.js'
import type { Stop, TaskEnd } from '../../src/lib/canvas/continuation.js'
import { freeze, resultId, tasksOf } from '../../src/lib/canvas/freeze.js'
import { ACCUMULATE, accumulated } from '../../src/lib/canvas/iterate.js'
import type { Json } from '../../src/lib/task/json.js'
import type { TaskMessage } from '../../src/lib/task/message.js'
import type { Canvas, TaskSignature } from '../../src/lib/task/signature.js'
import { type Call, called, evaluate, isEmpty } from './evaluate.js'
import { counting, failure, interpret, revoked, type World } from './interpreter.js'
import { anyCanvas } from './random-canvas.js'

const ERRBACKS = ['log', 'page', 'task', 'chain', 'group', 'chord']

const callOf = ({ task, args }: TaskMessage): Call => [task, ...args]

const succeeded = (message: TaskMessage): TaskEnd => ({
  status: 'SUCCESS',
  value: message.task === ACCUMULATE ? accumulated(message.args, message.kwargs['index']) : called(callOf(message)),
})

const ignored: Stop = { status: 'IGNORED' }

/** The result of the whole, as a client reads it: of one task, or of the members of a group. */
function resultOf(canvas: Canvas, { rows, groups, heirs }: World): Json | undefined {
  const id = resultId(canvas)
  if (id === null) return undefined
  const read = (taskId: string): Json => {
    const end = rows.get(heirs.get(taskId) ?? taskId)?.end
    assert.equal(end?.status, 'SUCCESS')
    return end.value
  }
  const group = groups.get(id)
  return group ? group.members.map(read) : read(id)
}

/** Each callback under an id of its own: one signature sent twice would be two tasks of one id. */
function withoutTwins(canvas: Canvas, newId: () => string): Canvas {
  return JSON.parse(JSON.stringify(canvas), (key, value) => (key === 'taskId' && value === 'callback' ? `callback-${newId()}` : value))
}

const frozenOf = (canvas: Canvas, newId: () => string): Canvas => freeze(withoutTwins(canvas, counting()), newId)

const RUNS = { numRuns: 300 }

describe('a workflow that is sent step by step', () => {
  /** Whether a run makes the calls, and comes to the value, of the workflow as it is written. */
  const agrees = (canvas: Canvas, leading: readonly Json[], swap: Canvas | null, pick: (waiting: number) => number): void => {
    const newId = counting()
    const calls: Call[] = []
    const value = evaluate(canvas, leading, { calls, swap })
    const frozen = frozenOf(canvas, newId)
    const replacementOf = ({ task }: TaskMessage) => (task === 'swap' && swap ? withoutTwins(swap, newId) : null)
    const world = interpret(frozen, leading, newId, { endOf: succeeded, pick, replacementOf })
    assert.deepEqual(resultOf(frozen, world), value)
    const made = world.sent.filter(({ id, task }) => !world.heirs.has(id) && task !== ACCUMULATE).map(callOf)
    assert.deepEqual(made.map(called).toSorted(), calls.map(called).toSorted())
  }

  const picks = fc.infiniteStream(fc.nat()).map((chance) => (waiting: number) => (chance.next().value ?? 0) % waiting)

  it('makes the calls, and comes to the value, of the workflow as it is written', () => {
    const leading = fc.constantFrom<Json[]>([], ['first'])
    fc.assert(
      fc.property(anyCanvas, leading, picks, (canvas, first, pick) => agrees(canvas, first, null, pick)),
      RUNS,
    )
  })

  it('does so when tasks of it are replaced by others', () => {
    // without callbacks: one that the replaced task has as well is sent once
    const swap = anyCanvas.map(
      (canvas): Canvas =>
        JSON.parse(JSON.stringify(canvas).replaceAll('"swap"', '"ident"'), (key, value) => (key === 'link' ? undefined : value)),
    )
    const hosts = anyCanvas.filter((canvas) => JSON.stringify(canvas).includes('"swap"'))
    fc.assert(
      fc.property(
        hosts,
        swap.filter((canvas) => !isEmpty(canvas)),
        picks,
        (canvas, other, pick) => agrees(canvas, [], other, pick), // 130
      ),
      RUNS,
    )
  })
})

/** Errbacks as they were sent: the failed task's id and the errback's name. */
const sentErrbacks = ({ sent }: World): string[] =>
  sent.filter(({ task }) => ERRBACKS.includes(task)).map(({ parentId, task }) => `${parentId} ${task}`)

const linkedErrbacks = ({ options }: { options: { linkError?: readonly Canvas[] } }): string[] =>
  (options.linkError ?? []).flatMap(tasksOf).map(({ task }) => task)

/** The tasks a body begins with. */
function firstOf(canvas: Canvas): readonly TaskSignature[] {
  if (canvas.kind === 'task') return [canvas]
  if (canvas.kind === 'chain') return canvas.steps[0] ? firstOf(canvas.steps[0]) : []
  return canvas.kind === 'group' ? canvas.members.flatMap(firstOf) : firstOf(canvas.body)
}

describe('a workflow in which tasks fail, are revoked and are ignored', () => {
  const ends = fc.infiniteStream(fc.constantFrom(null, null, null, null, failure, revoked, ignored))

  const runs = (check: (frozen: Canvas, world: World) => void): void =>
    fc.assert(
      fc.property(anyCanvas, ends, fc.infiniteStream(fc.nat()), (canvas, stream, chance) => {
        const newId = counting()
        const frozen = frozenOf(canvas, newId)
        const endOf = (message: TaskMessage): TaskEnd =>
          (ERRBACKS.includes(message.task) ? null : stream.next().value) ?? succeeded(message)
        check(frozen, interpret(frozen, [], newId, { endOf, pick: (waiting) => (chance.next().value ?? 0) % waiting }))
      }),
      RUNS,
    )

  it('has an end for every task in it: each ran once, or was settled once', () => {
    runs((frozen, { rows, groups, sent }) => {
      const callbacks = (canvas: Canvas): readonly TaskSignature[] =>
        tasksOf(canvas).flatMap((task) => [task, ...(task.options.link ?? []).flatMap(callbacks)])
      for (const { options } of callbacks(frozen)) if (options.taskId !== undefined) assert.ok(rows.has(options.taskId))
      assert.equal(sent.length, [...rows.values()].filter(({ ran }) => ran).length)
      for (const group of groups.values()) assert.ok(group.ends.every((end) => end !== null))
    })
  })

  it('sends the errbacks of a task that failed once, of a body whose header failed once, and no others', () => {
    runs((_, world) => {
      const failedRuns = [...world.rows.values()].filter(({ ran, end }) => ran && (end.status === 'FAILURE' || end.status === 'REVOKED'))
      const entries = world.failedBodies.flatMap(firstOf)
      const expected = [
        ...failedRuns.flatMap(({ message }) => linkedErrbacks(message).map((name) => `${message.id} ${name}`)),
        ...entries.flatMap((entry) => linkedErrbacks(entry).map((name) => `${entry.options.taskId} ${name}`)),
      ]
      assert.deepEqual(sentErrbacks(world).toSorted(), expected.toSorted())
    })
  })

  it('settles with the end of the task that stopped it, and names that task', () => {
    runs((_, { rows }) => {
      for (const { message, end, ran } of rows.values()) {
        const by = message.options.settledBy
        assert.equal(by === undefined, ran)
        if (by === undefined) continue
        const cause = rows.get(by)?.end
        assert.ok(cause && cause.status !== 'SUCCESS')
        if (end.status === 'FAILURE' && end.error.type === 'ChordError')
          assert.match(end.error.message, new RegExp(`^Dependency ${by} raised `))
        else assert.deepEqual(end, cause)
      }
    })
  })
})

describe('the normal form', () => {
  it('of a normal form is itself', () => {
    fc.assert(
      fc.property(anyCanvas, (canvas) => assert.deepEqual(normalise(normalise(canvas)), normalise(canvas))),
      RUNS,
    )
  })

  const wellFormed = (canvas: Canvas): boolean => {
    switch (canvas.kind) {
      case 'task':
        return true
      case 'chain':
        return (
          canvas.steps.length !== 1 &&
          canvas.steps.every(
            (step, i) => step.kind === 'task' || (i > 0 && i === canvas.steps.length - 1 && step.kind !== 'chain' && wellFormed(step)),
          )
        )
      case 'group':
        return canvas.members.every((member) => member.kind !== 'group' && wellFormed(member))
      case 'chord':
        return canvas.header.every((member) => member.kind !== 'group' && wellFormed(member)) && wellFormed(canvas.body)
    }
  }

  it('has only tasks in a chain, apart from its last step, and no group in a group', () => {
    fc.assert(
      fc.property(anyCanvas, (canvas) => assert.ok(wellFormed(normalise(canvas)))),
      RUNS,
    )
  })
})
