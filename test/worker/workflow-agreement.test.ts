import assert from 'node:assert/strict'
import fc from 'fast-check'
import { defineTask } from '../../src/lib/app/task.js'
import { normalise } from '../../src/lib/canvas/compose.js'
import { resultId, tasksOf } from '../../src/lib/canvas/freeze.js'
import { ACCUMULATE, accumulated } from '../../src/lib/canvas/iterate.js'
import { groupOf, membersOf } from '../../src/lib/ledger/groups.js'
import type { TaskRow } from '../../src/lib/ledger/row.js'
import { Replace } from '../../src/lib/task/ending.js'
import type { Json } from '../../src/lib/task/json.js'
import type { TaskMessage } from '../../src/lib/task/message.js'
import { SETTABLE_DEFAULTS } from '../../src/lib/task/options.js'
import type { Outcome } from '../../src/lib/task/outcome.js'
import type { Canvas } from '../../src/lib/task/signature.js'
import { Life } from '../../src/lib/worker/life.js'
import { Part } from '../../src/lib/worker/part.js'
import { type Call, called, evaluate, isEmpty } from '../canvas/evaluate.js'
import { anyCanvas } from '../canvas/random-canvas.js'
import { BROKERS, openStage, type Stage } from '../helpers/workflows.js'

const LEASE_MS = 60_000
const RUNS = { numRuns: 30 }

const callOf = ({ task, args }: TaskMessage): Call => [task, ...args]

function succeeded(message: TaskMessage): Outcome {
  const result = message.task === ACCUMULATE ? accumulated(message.args, message.kwargs['index']) : called(callOf(message))
  return { kind: 'succeeded', result, text: JSON.stringify(result) }
}

const ENDS: readonly (Outcome | null)[] = [
  null,
  null,
  null,
  null,
  { kind: 'failed', error: { type: 'RangeError', message: 'boom', traceback: null }, expected: false },
  { kind: 'revoked', reason: 'terminated' },
  { kind: 'ignored' },
]

/** Callbacks with an id of their own would be two tasks of one id where a signature occurs twice. */
const withoutCallbackIds = (canvas: Canvas): Canvas =>
  JSON.parse(JSON.stringify(canvas), (key, value) => (key === 'taskId' ? undefined : value))

const TABLES = ['task_result', 'task_attempt', 'task_message', 'task_group', 'task_group_member']

/** Sends a workflow on an empty ledger, and takes each of its messages through its life until none is left. */
async function play(w: Stage, canvas: Canvas, endOf: (message: TaskMessage) => Outcome, pick: (waiting: number) => number) {
  for (const table of TABLES) await w.database.run(`DELETE FROM ${table}`, [])
  const life = new Life(
    w.database,
    w.broker,
    w.redaction,
    w.follower,
    'worker',
    { leaseMs: LEASE_MS, maxDeliveries: 5, resultExpires: null },
    Date.now,
  )
  const frozen = await w.send(canvas)
  const ran: TaskMessage[] = []
  for (;;) {
    const deliveries = await w.broker.receive(['default'], 1000, LEASE_MS)
    const [delivery] = deliveries.splice(pick(deliveries.length || 1), 1)
    for (const other of deliveries) await w.broker.reject(other, { requeue: true })
    if (!delivery) return { frozen, ran }
    const started = await life.start(
      defineTask({ name: delivery.message.task }, () => {}, SETTABLE_DEFAULTS),
      delivery,
    )
    assert.ok(started, 'a message that waits is one to run')
    ran.push(delivery.message)
    assert.ok(await life.settle(started, endOf(delivery.message)))
  }
}

/** The result of the whole, as a client reads it. */
async function resultOf(w: Stage, canvas: Canvas): Promise<Json | undefined> {
  const id = resultId(canvas)
  if (id === null) return undefined
  const read = async (taskId: string): Promise<Json> => {
    const row = await w.row(taskId)
    if (row.status === 'IGNORED') return read((row.result as { replaced_by: string }).replaced_by)
    assert.equal(row.status, 'SUCCESS')
    return row.result
  }
  if (!(await groupOf(w.database, id))) return read(id)
  return Promise.all((await membersOf(w.database, id)).map(({ taskId }) => read(taskId)))
}

/** Nothing waits, and every group has counted each of its members. */
async function assertOver(w: Stage): Promise<TaskRow[]> {
  const rows = await w.app.tasks.list({}, 1000)
  assert.deepEqual(
    rows.filter(({ finishedAt }) => finishedAt === null).map(({ task, status }) => [task, status]),
    [],
  )
  for (const { group_id } of await w.database.all<{ group_id: string }>('SELECT group_id FROM task_group', [])) {
    const group = await groupOf(w.database, group_id)
    const bad = (await membersOf(w.database, group_id)).filter(({ status }) => status === 'FAILURE' || status === 'REVOKED')
    assert.deepEqual([group?.remaining, group?.failed], [0, bad.length])
    assert.ok(group?.finishedAt)
  }
  assert.deepEqual(w.errors, [])
  return rows
}

const picks = fc.infiniteStream(fc.nat()).map((chance) => (waiting: number) => (chance.next().value ?? 0) % waiting)

for (const broker of BROKERS) {
  describe(`any workflow on a real ledger, with the ${broker} broker`, function () {
    this.timeout(180_000)
    let w: Stage

    before(async () => {
      w = await openStage({ broker })
    })

    after(() => w[Symbol.asyncDispose]())

    it('makes the calls, and comes to the value, of the workflow as it is written, also when tasks of it are replaced', async () => {
      const swaps = fc.option(anyCanvas.filter((canvas) => !isEmpty(canvas)).map(plain), { freq: 3 })
      await fc.assert(
        fc.asyncProperty(anyCanvas.map(withoutCallbackIds), swaps, picks, async (canvas, swap, pick) => {
          const calls: Call[] = []
          const value = evaluate(canvas, [], { calls, swap })
          const hosts: string[] = []
          const endOf = (message: TaskMessage): Outcome => {
            if (message.task !== 'swap' || !swap) return succeeded(message)
            hosts.push(message.id)
            return replacedBy(message, swap)
          }
          const { frozen, ran } = await play(w, canvas, endOf, pick)
          await assertOver(w)
          assert.deepEqual(await resultOf(w, frozen), value)
          const made = ran.filter(({ id, task }) => !hosts.includes(id) && task !== ACCUMULATE).map(callOf)
          assert.deepEqual(made.map(called).toSorted(), calls.map(called).toSorted())
        }),
        RUNS,
      )
    })

    it('in which tasks fail, are revoked and are ignored has an end for every task: each ran once, or was settled once', async () => {
      const ends = fc.infiniteStream(fc.constantFrom(...ENDS))
      await fc.assert(
        fc.asyncProperty(anyCanvas.map(withoutCallbackIds), ends, picks, async (canvas, stream, pick) => {
          const { frozen, ran } = await play(w, canvas, (message) => stream.next().value ?? succeeded(message), pick)
          const rows = await assertOver(w)
          const settled = rows.filter(({ options }) => options.settledBy !== undefined).map(({ taskId }) => taskId)
          const ids = rows.map(({ taskId }) => taskId)
          assert.deepEqual([...ran.map(({ id }) => id), ...settled].toSorted(), ids.toSorted())
          for (const { options } of tasksOf(normalise(frozen))) assert.ok(ids.includes(options.taskId ?? ''))
        }),
        RUNS,
      )
    })
  })
}

/** Within what replaces a task nothing is replaced, and its callbacks, which the replaced task's may equal, are left out. */
const plain = (canvas: Canvas): Canvas =>
  JSON.parse(JSON.stringify(canvas).replaceAll('"swap"', '"ident"'), (key, value) => (key === 'link' ? undefined : value))

function replacedBy(message: TaskMessage, canvas: Canvas): Outcome {
  try {
    return new Part(message, (signature) => signature.canvas).replace({ canvas })
  } catch (error) {
    if (error instanceof Replace) return { kind: 'replaced', canvas: error.canvas, id: error.id }
    throw error
  }
}
