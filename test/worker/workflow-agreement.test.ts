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
import type { Canvas, TaskSignature } from '../../src/lib/task/signature.js'
import { Life } from '../../src/lib/worker/life.js'
import { Part } from '../../src/lib/worker/part.js'
import { rescueLost } from '../../src/lib/worker/rescue.js'
import { type Call, called, evaluate, isEmpty } from '../canvas/evaluate.js'
import { anyCanvas } from '../canvas/random-canvas.js'
import { BROKERS, needsServer, openStage, SERVED, type Stage } from '../helpers/workflows.js'
import { DAWN } from '../helpers/world.js'

const LEASE_MS = 60_000
const RUNS = { numRuns: 30 }
const STORMS = { numRuns: 40 }
/** How often it is looked for a message in vain. */
const LOOKS = 5

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

async function clear(w: Stage): Promise<void> {
  for (const database of [w.database, w.messages]) for (const table of TABLES) await database.run(`DELETE FROM ${table}`, [])
}

/** Sends a workflow on an empty ledger, and takes each of its messages through its life until none is left. */
async function play(w: Stage, canvas: Canvas, endOf: (message: TaskMessage) => Outcome, pick: (waiting: number) => number) {
  await clear(w)
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
  let looks = LOOKS
  for (;;) {
    const deliveries = await w.broker.receive(['default'], 1000, LEASE_MS)
    const [delivery] = deliveries.splice(pick(deliveries.length || 1), 1)
    for (const other of deliveries) await w.broker.reject(other, { requeue: true })
    if (!delivery) {
      if (looks-- === 0 || (await isOver(w))) return { frozen, ran }
      await w.broker.wait(['default'], 1000, new AbortController().signal) // a server may not have pushed yet what it has
      continue
    }
    looks = LOOKS
    const started = await life.start(
      defineTask({ name: delivery.message.task }, () => {}, SETTABLE_DEFAULTS),
      delivery,
    )
    assert.ok(started, 'a message that waits is one to run')
    ran.push(delivery.message)
    assert.ok(await life.settle(started, endOf(delivery.message)))
  }
}

const isOver = async ({ database }: Stage): Promise<boolean> =>
  (await database.all('SELECT 1 FROM task_result WHERE finished_at IS NULL LIMIT 1', [])).length === 0

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

/** Nothing waits, every group has counted each of its members, and nothing was reported but the death of a process. */
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
  assert.deepEqual(
    w.errors.splice(0).filter((error) => !(error instanceof Killed)),
    [],
  )
  return rows
}

class Killed extends Error {}

/** A process that is dropped at a failpoint, and from then on comes no further than the next one. */
class Mortal {
  dead = false
  private left = Number.POSITIVE_INFINITY

  readonly failpoint = async (): Promise<void> => {
    if (this.dead || this.left-- === 0) {
      this.dead = true
      throw new Killed()
    }
  }

  /** @param left how many failpoints it still passes; null: it lives */
  begin(left: number | null): void {
    this.dead = false
    this.left = left ?? Number.POSITIVE_INFINITY
  }

  /** What it does until it has done it, or is dropped. */
  async live(work: () => Promise<unknown>): Promise<void> {
    await work().catch((error) => {
      if (!(error instanceof Killed)) throw error
    })
  }
}

const ERRBACKS = ['log', 'page', 'task', 'chain', 'group', 'chord']

/** By chance: 0 up to below a number. */
type Chance = (below: number) => number

interface Storm {
  readonly w: Stage
  readonly mortal: Mortal
  readonly chance: Chance
  /** Whether tasks fail, are ignored, are retried, expire, and are revoked, besides. */
  readonly harsh: boolean
}

/** Tasks that are acked late, and others that are acked early and run again, or fail, when their worker is lost. */
function definitionOf(task: string, harsh: boolean) {
  const late = ERRBACKS.includes(task) || ['add', 'tsum'].includes(task)
  const lost = { onWorkerLost: harsh && task === 'ident' ? 'fail' : 'retry', maxRetries: null } as const
  return defineTask({ name: task, ...(late ? { acksLate: true } : lost) }, () => {}, SETTABLE_DEFAULTS)
}

function endBy({ w, chance, harsh }: Storm, message: TaskMessage): Outcome {
  const again: Outcome = { kind: 'retrying', eta: w.clock.now() + 1000, error: null, changes: {} }
  const ends = [...ENDS, ...(message.retries < 2 ? [again] : [])]
  return (harsh && !ERRBACKS.includes(message.task) ? ends[chance(ends.length)] : null) ?? succeeded(message)
}

/** Takes one of the messages that wait through its life, as a worker does. False: none waits. */
async function work(storm: Storm, life: Life): Promise<boolean> {
  const { w, chance, harsh } = storm
  const deliveries = await w.broker.receive(['default'], 1000, LEASE_MS)
  const [delivery] = deliveries.splice(chance(deliveries.length || 1), 1)
  for (const other of deliveries) await w.broker.reject(other, { requeue: true })
  if (!delivery) return false
  const { message } = delivery
  await storm.mortal.live(async () => {
    if (message.expires !== null && message.expires <= w.clock.now()) return life.revoke(delivery, 'expired')
    const started = await life.start(definitionOf(message.task, harsh), delivery)
    return started && life.settle(started, endBy(storm, message))
  })
  return true
}

async function sweep({ w, mortal }: Storm, ms: number): Promise<void> {
  w.clock.advance(ms)
  await mortal.live(() => w.app.tasks.sendScheduled())
  await mortal.live(() => rescueLost(w.database, w.follower, null, () => {}, w.clock.now(), mortal.failpoint))
}

/** Revokes any task of the workflow by its id alone, which the ledger knows also before the task has a row. */
async function revoke({ w, mortal, chance }: Storm, ids: readonly string[]): Promise<void> {
  await mortal.live(async () => {
    const answers = await w.app.tasks.revoke(ids.slice(chance(ids.length || 1)).slice(0, 1), { terminate: chance(2) === 0 })
    for (const { taskId, task } of answers) assert.ok(task, `${taskId} is known`)
  })
}

const isQuiet = async (w: Stage) => (await w.database.all('SELECT 1 FROM task_result WHERE finished_at IS NULL LIMIT 1', [])).length === 0

const MOST_KILLS = 6

/** One thing that happens. False: nothing was left to do for a worker. */
async function turn(storm: Storm, life: Life, ids: readonly string[]): Promise<boolean> {
  const what = storm.harsh ? storm.chance(8) : 7
  if (what === 0) await revoke(storm, ids)
  else if (what === 1) await sweep(storm, 1000)
  else return work(storm, life)
  return true
}

/** Sends a workflow, and has workers and senders at work on it, one after the other as they are dropped, until all is over. */
async function weather(storm: Storm, canvas: Canvas): Promise<Canvas> {
  const { w, mortal, chance, harsh } = storm
  const settings = { leaseMs: LEASE_MS, maxDeliveries: 5, resultExpires: null }
  const start = (name: string) => new Life(w.database, w.broker, w.redaction, w.follower, name, settings, w.clock.now, mortal.failpoint)
  mortal.begin(null)
  await clear(w)
  const frozen = await w.send(canvas, harsh && chance(3) === 0 ? { deadline: w.clock.now() + 2 * LEASE_MS } : {})
  const ids = tasksOf(frozen).map(({ options }) => options.taskId ?? '')
  let life = start('worker 0')
  let kills = 0
  for (let idle = 0; idle < 4; ) {
    mortal.begin(kills < MOST_KILLS && chance(4) === 0 ? chance(6) : null)
    if (await turn(storm, life, ids)) idle = 0
    else if (await isQuiet(w)) return frozen
    else {
      await sweep(storm, LEASE_MS + 1)
      idle += 1
    }
    if (!mortal.dead) continue
    life = start(`worker ${++kills}`)
    w.clock.advance(LEASE_MS + 1)
    idle = 0
  }
  return frozen
}

/** The tasks a body begins with. */
function firstOf(canvas: Canvas): readonly TaskSignature[] {
  if (canvas.kind === 'task') return [canvas]
  if (canvas.kind === 'chain') return canvas.steps[0] ? firstOf(canvas.steps[0]) : []
  return canvas.kind === 'group' ? canvas.members.flatMap(firstOf) : firstOf(canvas.body)
}

/** The errbacks of each task that ended badly itself, and of each that a body begins with whose header did, were sent once, and no others. */
async function assertToldOnce(w: Stage, rows: readonly TaskRow[]): Promise<void> {
  const bodies = await w.database.all<{ body: string }>('SELECT body FROM task_group WHERE body IS NOT NULL', [])
  const entries = new Set(bodies.flatMap(({ body }) => firstOf(JSON.parse(body))).map(({ options }) => options.taskId))
  const bad = rows.filter(({ status }) => status === 'FAILURE' || status === 'REVOKED')
  const telling = bad.filter(
    ({ taskId, errorType, options }) => options.settledBy === undefined || (entries.has(taskId) && errorType === 'ChordError'),
  )
  const expected = telling.flatMap(({ taskId, options }) =>
    (options.linkError ?? []).flatMap(tasksOf).map(({ task }) => `${taskId} ${task}`),
  )
  const sent = rows.filter(({ task }) => ERRBACKS.includes(task)).map(({ parentId, task }) => `${parentId} ${task}`)
  assert.deepEqual(sent.toSorted(), expected.toSorted())
}

const picks = fc.infiniteStream(fc.nat()).map((chance) => (waiting: number) => (chance.next().value ?? 0) % waiting)

for (const broker of SERVED) {
  describe(`any workflow on a real ledger, with the ${broker} broker`, function () {
    this.timeout(180_000)
    needsServer(broker)
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

/** Some tasks may not start from a second on. */
const mayExpire = anyCanvas.map(withoutCallbackIds).chain((canvas) => {
  const expiring = (one: Canvas, often: readonly boolean[]): Canvas => {
    let at = 0
    return JSON.parse(JSON.stringify(one), (key, value) =>
      key === 'options' && often[at++ % often.length] ? { ...value, expires: 1 } : value,
    )
  }
  return fc.array(fc.constantFrom(false, false, false, true), { minLength: 5, maxLength: 5 }).map((often) => expiring(canvas, often))
})

const chances = fc.infiniteStream(fc.nat()).map(
  (stream): Chance =>
    (below) =>
      (stream.next().value ?? 0) % below,
)

for (const broker of BROKERS) {
  describe(`any workflow whose workers and senders are dropped at any failpoint, with the ${broker} broker`, function () {
    this.timeout(180_000)
    let w: Stage
    const mortal = new Mortal()

    before(async () => {
      w = await openStage({ broker, now: () => DAWN, failpoint: mortal.failpoint, settings: { lease: LEASE_MS / 1000 } })
    })

    after(() => w[Symbol.asyncDispose]())

    it('comes to the value of the workflow as it is written', async () => {
      await fc.assert(
        fc.asyncProperty(anyCanvas.map(withoutCallbackIds), chances, async (canvas, chance) => {
          const frozen = await weather({ w, mortal, chance, harsh: false }, canvas)
          await assertOver(w)
          assert.deepEqual(await resultOf(w, frozen), evaluate(canvas, [], { calls: [], swap: null }))
        }),
        STORMS,
      )
    })

    it('and whose tasks fail, expire, are retried and are revoked has an end for every task, and tells each errback once', async () => {
      await fc.assert(
        fc.asyncProperty(mayExpire, chances, async (canvas, chance) => {
          const frozen = await weather({ w, mortal, chance, harsh: true }, canvas)
          const rows = await assertOver(w)
          const ids = new Set(rows.map(({ taskId }) => taskId))
          for (const { options } of tasksOf(normalise(frozen))) assert.ok(ids.has(options.taskId ?? ''))
          await assertToldOnce(w, rows)
          if (rows.every(({ status }) => status === 'SUCCESS')) {
            assert.deepEqual(await resultOf(w, frozen), evaluate(canvas, [], { calls: [], swap: null }))
          }
        }),
        STORMS,
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
