import assert from 'node:assert/strict'
import type { App } from '../../src/lib/app/app.js'
import { moveToStarted } from '../../src/lib/ledger/starts.js'
import { isFinal } from '../../src/lib/task/status.js'
import { rescueLost } from '../../src/lib/worker/rescue.js'
import { type Fault, FaultyConnection } from '../helpers/faulty.js'
import { assertFinalIsFinal, watchFinalRows } from '../helpers/final-rows.js'
import { MINUTE } from '../helpers/site.js'
import { until } from '../helpers/until.js'
import { working } from '../helpers/working.js'
import { openWorld, type World } from '../helpers/world.js'

const LEASE_MS = 30_000

/** A ledger whose connection can be made to fail, and an app on it whose connection cannot. */
interface Stage extends World {
  readonly watcher: App
  readonly faulty: FaultyConnection
  /** The label of each execution's task, and how often it had been retried: `a 0`. */
  readonly executions: string[]
}

/** A piece of work whose statements are made to fail, and what its task may have come to once everything is over. */
interface Scenario {
  readonly name: string
  /** Makes the task of this label; returns its id. */
  readonly prepare?: (w: Stage, label: string) => Promise<string>
  /** The statements that are made to fail. Rejects as its caller would see it. */
  readonly act: (w: Stage, label: string, taskId: string) => Promise<unknown>
  /** Statuses the task may end in, whatever failed. */
  readonly ends: readonly string[]
  /** Whether a fault may leave the task open, and listed as lost. */
  readonly mayBeLost?: true
  /** Whether it is part of a transaction of the caller's own. */
  readonly inTransaction?: true
  /** Whether its body may run a second time. */
  readonly mayRepeat?: true
}

async function openStage(): Promise<Stage> {
  const w = await openWorld({ now: Date.now })
  const { app: watcher } = await w.join()
  await watchFinalRows(w.database)
  const executions: string[] = []
  declare(w.app, executions)
  return { ...w, watcher, executions, faulty: await FaultyConnection.of(w.database) }
}

function declare(app: App, executions: string[]): void {
  app.task({ name: 'early', bind: true }, ({ request }, label: string) => executions.push(`${label} ${request.retries}`))
  app.task({ name: 'late', bind: true, acksLate: true }, ({ request }, label: string) => executions.push(`${label} ${request.retries}`))
  app.task({ name: 'again', bind: true }, ({ request, retry }, label: string) => {
    executions.push(`${label} ${request.retries}`)
    if (request.retries === 0) retry({ countdown: 0 })
  })
  app.task('fails', () => {
    throw new Error('on purpose')
  })
}

const send = (task: string) => async (w: Stage, label: string) => (await w.app.sendTask(task, [label])).id

/** A worker of this process until the task has ended, or until the worker or its task has met the fault. */
async function work(w: Stage, taskId: string): Promise<void> {
  w.errors.length = 0
  await using one = working(w.app, { sender: false })
  let over = false
  const ended = one.ended.finally(() => {
    over = true
  })
  ended.catch(() => {}) // asked for below
  await until(async () => over || w.errors.length > 0 || (await settled(w, taskId)), 'the task to end, or the worker to meet the fault')
  one.worker.stop()
  await ended
}

/** Asked on a connection of its own, so that the scenario's statements are those of the program. */
const settled = async ({ watcher }: Stage, taskId: string) => {
  const row = await watcher.tasks.get(taskId)
  return row !== null && (isFinal(row.status) || row.status === 'RETRY')
}

/** A task whose worker is gone, and that is to run again when that happens. */
async function lose(w: Stage, label: string): Promise<string> {
  const taskId = await send('early')(w, label)
  const [delivery] = await w.broker.receive(['default'], 1, LEASE_MS)
  assert.ok(delivery && (await w.broker.ack(delivery)))
  const now = w.clock.now()
  const owner = { taskId, workerId: 'gone', deliveries: 1, retries: 0 }
  await w.database.write((sql) =>
    moveToStarted(sql, owner, { leaseUntil: now + LEASE_MS, maxRetries: 3, options: '{"onWorkerLost":"retry"}', track: true }, now),
  )
  w.clock.advance(LEASE_MS + 1)
  return taskId
}

const SCENARIOS: readonly Scenario[] = [
  { name: 'publish', act: (w, label) => w.app.sendTask('early', [label]), ends: ['SUCCESS'] },
  {
    name: "publish in the caller's transaction",
    act: async (w, label) => (await w.app.knex()).transaction((trx) => w.app.sendTask('early', [label], { trx })),
    ends: ['SUCCESS'],
    inTransaction: true,
  },
  { name: 'an early-ack task', prepare: send('early'), act: (w, _, id) => work(w, id), ends: ['SUCCESS'], mayBeLost: true },
  { name: 'a late-ack task', prepare: send('late'), act: (w, _, id) => work(w, id), ends: ['SUCCESS'], mayRepeat: true },
  { name: 'a retry', prepare: send('again'), act: (w, _, id) => work(w, id), ends: ['SUCCESS'], mayBeLost: true },
  {
    name: 'a sender pass',
    prepare: async (w, label) => {
      const { id } = await w.app.sendTask('early', [label], { countdown: 60 })
      w.clock.advance(MINUTE + 1)
      return id
    },
    act: (w) => w.app.tasks.sendScheduled(),
    ends: ['SCHEDULED_SENT'],
  },
  { name: 'a revoke', prepare: send('early'), act: (w, _, id) => w.app.tasks.revoke([id]), ends: ['REVOKED', 'SUCCESS'] },
  {
    name: 'a purge',
    prepare: async (w, label) => {
      const id = await send('fails')(w, label)
      await work(w, id)
      return id
    },
    act: (w) => w.app.tasks.purge({ cutoff: new Date(w.clock.now()) }),
    ends: ['FAILURE'],
  },
  {
    name: 'a rescue',
    prepare: lose,
    act: (w) => rescueLost(w.database, w.follower, null, () => {}, w.clock.now()),
    ends: ['SUCCESS'],
  },
]

/** A sender, a rescuer and a worker that meet no fault, until nothing is left that they could do. */
async function drain(w: Stage): Promise<void> {
  w.clock.advance(2 * LEASE_MS)
  await using _ = working(w.app, { sender: false })
  await until(async () => {
    await rescueLost(w.database, w.follower, null, () => {}, w.clock.now())
    const sent = await w.app.tasks.sendScheduled()
    const messages = await w.database.all('SELECT 1 FROM task_message LIMIT 1', [])
    const running = await w.database.all('SELECT 1 FROM task_result WHERE finished_at IS NULL AND lease_until > ? LIMIT 1', [w.clock.now()])
    const waiting = await w.app.tasks.count({ statuses: ['RETRY', 'SCHEDULED'] })
    return sent.length === 0 && messages.length === 0 && running.length === 0 && waiting === 0
  }, 'everything to be drained')
}

/** What became of one run of a scenario. */
interface Played {
  readonly taskId: string
  /** What its caller was told; null: nothing but an answer. */
  readonly error: unknown
  readonly statements: readonly string[]
  readonly failed: string | null
  /** What its task executed in the end. */
  readonly executions: readonly string[]
}

async function play(w: Stage, scenario: Scenario, label: string, arm: () => void): Promise<Played> {
  const taskId = (await scenario.prepare?.(w, label)) ?? ''
  arm()
  const error = await scenario.act(w, label, taskId).then(
    () => null,
    (thrown: unknown) => thrown,
  )
  const { ran: statements, failed } = w.faulty
  w.faulty.count()
  await drain(w)
  return { taskId, error, statements, failed, executions: w.executions.filter((line) => line.startsWith(`${label} `)) }
}

const PUBLISHES = (name: string) => name.startsWith('publish')

async function assertSound(w: Stage, scenario: Scenario, label: string, fault: Fault | null, played: Played): Promise<void> {
  const { executions, error } = played
  const rows = (await w.app.tasks.list({}, 10)).filter(({ args }) => Array.isArray(args) && args[0] === label)
  const row = rows.find(({ taskId }) => taskId === played.taskId) ?? rows[0]
  await assertFinalIsFinal(w.database)
  if (!scenario.mayRepeat) assert.equal(new Set(executions).size, executions.length, `it ran twice: ${executions}`)
  if (PUBLISHES(scenario.name)) {
    // who publishes and is told of an error has a task all the same exactly when only the answer to a written commit was lost
    const written = fault === 'after' && /^COMMIT/.test(played.failed ?? '')
    assert.equal(row !== undefined, error === null || written, `recorded or not, after the error ${error}`)
  } else if (!row) {
    assert.equal(scenario.name, 'a purge')
    assert.deepEqual(await w.database.all('SELECT 1 FROM task_attempt', []), [], 'it left its history')
  }
  if (!row) return assert.deepEqual(executions, [])
  if (!isFinal(row.status)) return assertSeen(w, scenario, row.taskId)
  assert.ok(scenario.ends.includes(row.status), `${row.status} is no end of ${scenario.name}`)
  if (row.status === 'SUCCESS') assert.ok(executions.length >= 1, 'it succeeded and never ran')
  if (row.status === 'REVOKED') assert.deepEqual(executions, [])
  if (row.status === 'SCHEDULED_SENT') assert.deepEqual([rows.length, executions], [2, [`${label} 0`]])
  if (scenario.name === 'a retry') assert.deepEqual(executions, [`${label} 0`, `${label} 1`])
}

/** An open row that nobody will take up by itself is one that is listed. */
async function assertSeen({ app, database }: Stage, { name, mayBeLost }: Scenario, taskId: string): Promise<void> {
  assert.ok(mayBeLost, `${name} left its task open`)
  const stale = await app.tasks.findStale()
  assert.equal(stale.find((row) => row.taskId === taskId)?.reason, 'lost')
  await database.run('DELETE FROM task_result WHERE task_id = ?', [taskId]) // the next fault begins with nothing open
}

/** Plays a scenario without a fault, then once for each of its statements; returns how many there were. */
async function failEach(scenario: Scenario, fault: Fault): Promise<number> {
  await using w = await openStage()
  const plain = await play(w, scenario, 'plain', () => w.faulty.count())
  assert.equal(plain.error, null)
  await assertSound(w, scenario, 'plain', null, plain)
  for (const at of plain.statements.keys()) {
    const label = `${fault}-${at}`
    const played = await play(w, scenario, label, () => w.faulty.arm(at, fault))
    try {
      // a program waits for a lock; only the statements of a caller's own transaction are the caller's to repeat
      if (fault === 'busy' && !scenario.inTransaction) assert.equal(played.error, null)
      await assertSound(w, scenario, label, fault, played)
    } catch (error) {
      throw new Error(`statement ${at} (${played.failed}): ${error instanceof Error ? error.message : error}`, { cause: error })
    }
  }
  return plain.statements.length
}

const FAULTS: readonly (readonly [Fault, string])[] = [
  ['before', 'is not executed'],
  ['after', 'is executed and its answer lost'],
  ['busy', 'finds the database locked'],
]

for (const scenario of SCENARIOS) {
  describe(`${scenario.name}, any one statement of which fails`, () => {
    for (const [fault, how] of FAULTS) {
      it(`leaves nothing lost unseen, doubled or changed after its end when it ${how}`, async function () {
        this.timeout(60_000)
        assert.ok((await failEach(scenario, fault)) >= 3)
      })
    }
  })
}

describe('a commit that several callers share and whose answer is lost', () => {
  it('is not made again: each task is executed once', async () => {
    await using w = await openStage()
    w.faulty.arm(4, 'after') // BEGIN, a message each, COMMIT: a task whose result is ignored has no row that would tell
    const labels = ['a', 'b', 'c']
    const published = await Promise.allSettled(labels.map((label) => w.app.sendTask('early', [label], { ignoreResult: true })))
    assert.equal(w.faulty.failed, 'COMMIT')
    w.faulty.count()
    for (const { status } of published) assert.equal(status, 'rejected')
    await drain(w)
    assert.deepEqual(w.executions.sort(), ['a 0', 'b 0', 'c 0'])
  })
})

describe("a caller's transaction whose commit is refused", () => {
  it('is rolled back, and what comes after it is written', async () => {
    await using w = await openStage()
    const knex = await w.app.knex()
    await knex.raw('CREATE TABLE customer (id INTEGER PRIMARY KEY)')
    await knex.raw('CREATE TABLE purchase (customer INTEGER REFERENCES customer DEFERRABLE INITIALLY DEFERRED)')
    const refused = knex.transaction(async (trx) => {
      await trx('purchase').insert({ customer: 1 })
      await w.app.sendTask('early', ['refused'], { trx })
    })
    await assert.rejects(refused, /FOREIGN KEY/)
    const { id } = await w.app.sendTask('early', ['after'])
    assert.deepEqual(
      (await w.watcher.tasks.list()).map(({ taskId }) => taskId),
      [id],
    )
  })
})
