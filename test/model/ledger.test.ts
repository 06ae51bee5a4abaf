import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { Delivery } from '../../src/lib/broker/broker.js'
import { extendLease } from '../../src/lib/ledger/moves.js'
import type { StoredRow } from '../../src/lib/ledger/row.js'
import type { TaskDefinition } from '../../src/lib/task/definition.js'
import type { Outcome } from '../../src/lib/task/outcome.js'
import { isFinal } from '../../src/lib/task/status.js'
import { Life, type Started } from '../../src/lib/worker/life.js'
import { rescueLost } from '../../src/lib/worker/rescue.js'
import { openWorld, type World } from '../helpers/world.js'
import { type Hand, KINDS, type Kind, LEASE_MS, RETRY_MS, Reference, type Row } from './reference.js'

/** The real thing: a ledger, two workers' lives, and what is in their hands. */
interface Real {
  readonly w: World
  readonly lives: ReadonlyMap<string, Life>
  readonly definitions: ReadonlyMap<string, TaskDefinition>
  readonly held: Map<Hand, { readonly delivery: Delivery; started: Started | null }>
  /** Every row as it was after the last command. */
  before: Map<string, StoredRow>
}

type Command = fc.AsyncCommand<Reference, Real>

async function openReal(w: World): Promise<Real> {
  for (const table of ['task_result', 'task_attempt', 'task_message']) await w.database.run(`DELETE FROM ${table}`, [])
  const definitions = new Map(KINDS.map((kind) => [kind as string, w.app['declared'].definition(kind, w.settings) as TaskDefinition]))
  const terms = { leaseMs: LEASE_MS, maxDeliveries: 5, resultExpires: null }
  const life = (worker: string) => new Life(w.database, w.broker, w.redaction, w.follower, worker, terms, w.clock.now)
  const lives = new Map(['A', 'B'].map((worker) => [worker, life(worker)]))
  return { w, lives, definitions, held: new Map(), before: new Map() }
}

/** A command: what it is called, when it makes sense, and what it does to both. */
class Step implements Command {
  constructor(
    private readonly name: string,
    private readonly may: (model: Readonly<Reference>) => boolean,
    private readonly act: (model: Reference, real: Real) => Promise<void>,
  ) {}

  check(model: Readonly<Reference>): boolean {
    return this.may(model)
  }

  async run(model: Reference, real: Real): Promise<void> {
    await this.act(model, real)
    await assertInvariants(real)
    await assertAlike(model, real)
  }

  toString(): string {
    return this.name
  }
}

const pick = <T>(from: readonly T[], at: number): T => from[at % from.length] as T

const publish = (kind: Kind, countdown: number) =>
  new Step(
    `publish(${kind}, ${countdown})`,
    (model) => model.rows.length < 3, // few rows, so that the commands meet
    async (model, { w }) => {
      const { id } = await w.app.sendTask(kind, [], { countdown })
      model.publish(id, kind, countdown === 0 ? null : model.now + countdown * 1000)
    },
  )

const receive = (worker: string) =>
  new Step(
    `receive(${worker})`,
    () => true,
    async (model, { w, held }) => {
      const [delivery] = await w.broker.receive(['default'], 1, LEASE_MS)
      const hand = model.receive(worker)
      assert.equal(delivery?.message.id, hand?.message.id)
      if (delivery && hand) held.set(hand, { delivery, started: null })
    },
  )

const unstarted = (model: Readonly<Reference>) => model.hands.filter(({ started }) => !started)
const running = (model: Readonly<Reference>) => model.hands.filter(({ started }) => started)

const start = (at: number) =>
  new Step(
    `start(${at})`,
    (model) => unstarted(model).length > 0,
    async (model, { lives, definitions, held }) => {
      const hand = pick(unstarted(model), at)
      const inHand = held.get(hand)
      assert.ok(inHand)
      const definition = definitions.get(inHand.delivery.message.task)
      assert.ok(definition)
      inHand.started = (await lives.get(hand.worker)?.start(definition, inHand.delivery)) ?? null
      assert.equal(inHand.started !== null, model.start(hand))
    },
  )

const beat = (at: number) =>
  new Step(
    `beat(${at})`,
    (model) => running(model).length > 0,
    async (model, { w, held }) => {
      const hand = pick(running(model), at)
      const { delivery, started } = held.get(hand) ?? {}
      assert.ok(delivery && started)
      await w.database.write(async (sql) => {
        await extendLease(sql, started.owner, w.clock.now() + LEASE_MS)
        if (started.late) await w.broker.within?.(sql).extend([delivery], w.clock.now() + LEASE_MS)
      })
      model.beat(hand)
    },
  )

const error = { type: 'FetchError', message: 'no answer', traceback: null }

const settle = (as: 'SUCCESS' | 'FAILURE' | 'RETRY', at: number) =>
  new Step(
    `${as}(${at})`,
    (model) => running(model).length > 0,
    async (model, { w, lives, held }) => {
      const hand = pick(running(model), at)
      const started = held.get(hand)?.started
      assert.ok(started)
      const outcomes: Record<typeof as, Outcome> = {
        SUCCESS: { kind: 'succeeded', result: 1, text: '1' },
        FAILURE: { kind: 'failed', error, expected: false },
        RETRY: { kind: 'retrying', eta: w.clock.now() + RETRY_MS, error, changes: {} },
      }
      const settled = await lives.get(hand.worker)?.settle(started, outcomes[as])
      assert.equal(settled !== null, model.settle(hand, as))
    },
  )

const runningLate = (model: Readonly<Reference>) => running(model).filter(({ message }) => model.row(message.id)?.kind === 'late')

const giveBack = (at: number) =>
  new Step(
    `giveBack(${at})`,
    (model) => runningLate(model).length > 0,
    async (model, { lives, held }) => {
      const hand = pick(runningLate(model), at)
      const started = held.get(hand)?.started
      assert.ok(started)
      await lives.get(hand.worker)?.giveBack(started)
      model.giveBack(hand)
    },
  )

const rescue = () =>
  new Step(
    'rescue()',
    () => true,
    async (model, { w }) => {
      await rescueLost(w.database, w.follower, null, () => {}, w.clock.now())
      model.rescue()
    },
  )

const revoke = (at: number, terminate: boolean) =>
  new Step(
    `revoke(${at}, ${terminate})`,
    (model) => model.rows.length > 0,
    async (model, { w }) => {
      const row = pick(model.rows, at)
      const [done] = await w.app.tasks.revoke([row.id], { terminate })
      assert.equal(done?.revoked, model.revoke(row, terminate))
    },
  )

const sendDue = () =>
  new Step(
    'sendDue()',
    () => true,
    async (model, { w }) => {
      const sent = await w.app.tasks.sendScheduled()
      const due = model.due()
      assert.deepEqual(
        sent.map(({ taskId }) => taskId),
        due.map(({ id }) => id),
      )
      for (const [i, row] of due.entries()) model.sent(row, sent[i]?.newTaskId ?? '')
    },
  )

const sendAgain = (at: number) =>
  new Step(
    `sendAgain(${at})`,
    (model) => model.rows.length > 0 && model.rows.length < 4,
    async (model, { w }) => {
      const row = pick(model.rows, at)
      const recorded = await w.app.tasks.get(row.id)
      assert.ok(recorded)
      const [resent] = await w.app.tasks.retry([recorded])
      assert.equal(resent?.error === null, model.maySendAgain(row), resent?.error ?? 'it was sent')
      if (resent?.newTaskId) model.publish(resent.newTaskId, row.kind, null, row.id)
    },
  )

const purge = () =>
  new Step(
    'purge()',
    (model) => model.mayPurge(),
    async (model, { w }) => {
      await w.app.tasks.purge({ cutoff: new Date(w.clock.now()) })
      model.purge()
    },
  )

const jump = (ms: number) =>
  new Step(
    `jump(${ms})`,
    () => true,
    async (model, { w }) => {
      model.now = w.clock.advance(ms)
    },
  )

/** What holds whatever the model says. */
async function assertInvariants(real: Real): Promise<void> {
  const { database } = real.w
  const rows = await database.all<StoredRow>('SELECT * FROM task_result', [])
  for (const row of rows) {
    const was = real.before.get(row.task_id)
    assert.equal(row.finished_at !== null, isFinal(row.status), `${row.task_id} is ${row.status}, finished_at ${row.finished_at}`)
    if (!was) continue
    if (isFinal(was.status)) assert.deepEqual(row, was, 'a finished row was changed')
    assert.ok(row.retries >= was.retries, 'retries went down')
    if (row.retries === was.retries)
      assert.ok(row.deliveries >= was.deliveries, `deliveries went from ${was.deliveries} to ${row.deliveries}`)
    if (row.retry_of !== null && !was) assert.ok(real.before.has(row.retry_of), 'a copy of no row')
  }
  real.before = new Map(rows.map((row) => [row.task_id, row]))
}

/** The ledger, in the model's words. */
async function assertAlike(model: Reference, { w }: Real): Promise<void> {
  const rows = await w.database.all<StoredRow>('SELECT * FROM task_result ORDER BY id', [])
  const shown = ({ id, kind, status, retries, deliveries, lease, retryOf }: Row) => ({
    id,
    kind,
    status,
    retries,
    deliveries,
    lease,
    retryOf,
  })
  const stored = ({ task_id, task, status, retries, deliveries, lease_until, retry_of }: StoredRow) =>
    ({ id: task_id, kind: task, status, retries, deliveries, lease: lease_until, retryOf: retry_of }) as const
  assert.deepEqual(rows.map(stored), model.rows.map(shown))

  const messages = await w.database.all(
    'SELECT task_id AS id, deliveries, held_until AS heldUntil FROM task_message ORDER BY task_message.id',
    [],
  )
  assert.deepEqual(
    messages,
    model.messages.map(({ id, deliveries, heldUntil }) => ({ id, deliveries, heldUntil })),
  )

  const attempts = await w.database.all<{ task_id: string; kind: string }>('SELECT task_id, kind FROM task_attempt ORDER BY id', [])
  const history = new Map<string, string[]>()
  for (const { task_id, kind } of attempts) history.set(task_id, [...(history.get(task_id) ?? []), kind])
  assert.deepEqual(history, model.history)
}

const AT = fc.nat(7)
const WORKER = fc.constantFrom('A', 'B')

const COMMANDS = fc.commands(
  [
    fc.tuple(fc.constantFrom(...KINDS), fc.constantFrom(0, 0, 0, 60)).map(([kind, countdown]) => publish(kind, countdown)),
    WORKER.map(receive),
    WORKER.map(receive),
    AT.map(start),
    AT.map(start),
    AT.map(beat),
    fc.tuple(fc.constantFrom('SUCCESS' as const, 'FAILURE' as const, 'RETRY' as const), AT).map(([as, at]) => settle(as, at)),
    AT.map(giveBack),
    fc.constant(rescue()),
    fc.tuple(AT, fc.boolean()).map(([at, terminate]) => revoke(at, terminate)),
    fc.constant(sendDue()),
    AT.map(sendAgain),
    fc.constant(purge()),
    fc.constantFrom(1, RETRY_MS + 1, LEASE_MS / 3, LEASE_MS, LEASE_MS, 3_600_000).map(jump),
  ],
  { maxCommands: 60, size: 'max' },
)

/** How long the model and the ledger are compared. A failure prints the seed and the path that show it again. */
const BOUND_MS = 10_000

/** A world with a task of each kind. */
async function openModelWorld(): Promise<World> {
  const w = await openWorld({ settings: { database: 'sqlite::memory:', resultExpires: null } })
  w.app.task('early', () => null)
  w.app.task({ name: 'late', acksLate: true }, () => null)
  w.app.task({ name: 'rescued', onWorkerLost: 'retry' }, () => null)
  return w
}

async function follow(w: World, commands: Iterable<Command>): Promise<void> {
  const real = await openReal(w)
  await fc.asyncModelRun(() => ({ model: new Reference(w.clock.now()), real }), commands)
}

describe('the ledger, beside a model of it', () => {
  it('is as the model says after any commands in any order', async function () {
    this.timeout(4 * BOUND_MS) // when it fails, the commands are first made few
    await using w = await openModelWorld()
    let runs = 0
    const property = fc.asyncProperty(COMMANDS, async (commands) => {
      runs += 1
      await follow(w, commands)
    })
    const end = Date.now() + BOUND_MS
    while (Date.now() < end) await fc.assert(property, { numRuns: 10 }) // a run that is interrupted would go on in a world that is gone
    assert.ok(runs >= 50, `only ${runs} runs`)
  })

  it("does not take a worker's lost execution for the retry of it that the same worker runs", async () => {
    await using w = await openModelWorld()
    const lost = [publish('rescued', 0), receive('A'), start(0), jump(LEASE_MS), rescue(), jump(1), sendDue()]
    await follow(w, [...lost, receive('A'), start(0), settle('SUCCESS', 0), settle('SUCCESS', 0)])
  })

  it('does not start an early-ack task for a delivery older than the one that started it', async () => {
    await using w = await openModelWorld()
    await follow(w, [publish('early', 0), receive('A'), jump(LEASE_MS), receive('B'), start(1), jump(LEASE_MS), start(0)])
  })
})
