import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { StoredRow } from '../../src/lib/ledger/row.js'
import { assertFinalIsFinal, watchFinalRows } from '../helpers/final-rows.js'
import { Processes, type Running } from '../helpers/processes.js'
import { runs, side } from '../helpers/side-effects.js'
import { SECOND } from '../helpers/site.js'
import { until } from '../helpers/until.js'
import { openWorld, type World } from '../helpers/world.js'

const KILLING_MS = 55 * SECOND
const DRAIN_MS = 40 * SECOND
const KILL_EVERY_MS = 200
const MOST_TASKS = 5000
const LEASE_S = 2

/** Whom the killer picks; SOAK_SEED picks the same again. The machine decides how far each had got. */
const SEED = Number(process.env['SOAK_SEED'] ?? Math.floor(Math.random() * 2 ** 32))

/** Mulberry32: numbers from 0 to 1 that a seed decides. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

const ROLES = [
  ['publish', 'publish'],
  ['publish', 'publish'],
  ['send', ''],
  ['send', ''],
  ['work', 'async'],
  ['work', 'async'],
  ['work', 'processes'],
  ['work', 'processes'],
] as const

const environment = (w: World) => ({ ...w.env, TASKLEDGER_LEASE: String(LEASE_S), TASKLEDGER_MAX_DELIVERIES: '1000' })

/** All programs at once, one of them killed and replaced again and again. Returns the ids that publishers said were accepted. */
async function soak(w: World, processes: Processes): Promise<Set<string>> {
  const random = seeded(SEED)
  const all: Running[] = []
  const start = (role: number): Running => {
    const [name, option] = ROLES[role] ?? ROLES[0]
    const running = processes.fixture('soak.mjs', [name, name === 'publish' ? side(w) : option], environment(w))
    all.push(running)
    return running
  }
  const accepted = () =>
    new Set(all.flatMap(({ stdout }) => stdout).flatMap((line) => (line.startsWith('accepted ') ? [line.slice('accepted '.length)] : [])))
  const programs = ROLES.map((_, role) => start(role))
  const end = Date.now() + KILLING_MS
  while (Date.now() < end && accepted().size < MOST_TASKS) {
    const role = Math.floor(random() * ROLES.length)
    await sleep(KILL_EVERY_MS)
    await programs[role]?.kill()
    programs[role] = start(role)
    await programs[role].said('ready') // on a slow machine they are killed less often, and still get to work
  }
  for (const program of programs) {
    const { signal } = await program.kill()
    assert.equal(signal, 'SIGKILL', `a program ended by itself: ${program.stderr.join('\n')}`)
  }
  return accepted()
}

/** A worker that nobody kills takes up what the others left. */
async function drain(w: World, processes: Processes): Promise<void> {
  const worker = processes.command(['worker', '--app', './test/fixtures/soak-app.mjs', '-c', '20', '--log-level', 'error'], environment(w))
  await until(
    async () => {
      const left = await w.database.all(
        `SELECT 1 FROM task_message UNION ALL
         SELECT 1 FROM task_result WHERE finished_at IS NULL AND (status IN ('SCHEDULED', 'RETRY', 'PENDING') OR lease_until > ?) LIMIT 1`,
        [Date.now()],
      )
      return left.length === 0
    },
    'the rest to be done',
    DRAIN_MS,
  )
  worker.signal('SIGTERM')
  assert.equal((await worker.end()).code, 0, worker.stderr.join('\n'))
}

/** When each task began, by its id. */
function executions(w: World): Map<string, number[]> {
  const found = new Map<string, number[]>()
  for (const { id, number: at } of runs(w)) found.set(id, [...(found.get(id) ?? []), at])
  return found
}

function assertTask(row: StoredRow, began: readonly number[], lost: ReadonlySet<string>, rows: ReadonlyMap<string, StoredRow>): void {
  const what = `${row.task} ${row.task_id}, ${row.status}, begun ${began.length} times`
  if (row.status === 'SCHEDULED_SENT') {
    assert.ok(rows.has(row.scheduled_id ?? ''), `${what}: sent as nothing`)
    assert.equal(began.length, 0, what)
  } else if (row.task === 'late') {
    assert.ok(row.status === 'SUCCESS' && began.length >= 1, what)
  } else if (row.status === 'SUCCESS') {
    assert.equal(began.length, 1, what)
  } else {
    assert.ok(began.length <= 1, what)
    assert.ok(lost.has(row.task_id), `${what}: not listed as lost`)
  }
}

/** Every publish has a label of its own: what a scheduled task became has it too, and nothing else may. */
const SENT_TWICE = "SELECT args FROM task_result WHERE status <> 'SCHEDULED_SENT' GROUP BY args HAVING count(*) > 1"

/** No scheduled task began before its eta. */
function assertNotEarly({ task_id, eta, scheduled_id }: StoredRow, began: ReadonlyMap<string, readonly number[]>): void {
  for (const at of began.get(scheduled_id ?? '') ?? []) assert.ok(at > (eta ?? 0), `${task_id} began ${(eta ?? 0) - at} ms early`)
}

async function assertAgreement(w: World, accepted: ReadonlySet<string>): Promise<void> {
  const began = executions(w)
  const rows = new Map((await w.database.all<StoredRow>('SELECT * FROM task_result', [])).map((row) => [row.task_id, row]))
  const stale = await w.app.tasks.findStale()
  const lost = new Set(stale.filter(({ reason }) => reason === 'lost').map(({ taskId }) => taskId))
  for (const id of [...accepted, ...began.keys()]) assert.ok(rows.has(id), `${id} has no row`)
  for (const row of rows.values()) {
    assertTask(row, began.get(row.task_id) ?? [], lost, rows)
    assertNotEarly(row, began)
  }
  assert.deepEqual(await w.database.all(SENT_TWICE, []), [], 'sent twice')
  assert.equal(stale.length, lost.size)
  assert.deepEqual(await w.app.tasks.findStaleScheduled(), [])
  await assertFinalIsFinal(w.database)
  assert.ok(rows.size >= 100, `only ${rows.size} rows: too few to say anything`)
}

describe('two publishers, two senders and four workers, one of them killed every 200 ms', () => {
  it(`leave a ledger and side effects that agree (SOAK_SEED=${SEED})`, async function () {
    this.timeout(KILLING_MS + DRAIN_MS + 30 * SECOND)
    await using w = await openWorld({ now: Date.now })
    await using processes = new Processes()
    await watchFinalRows(w.database)
    const accepted = await soak(w, processes)
    await drain(w, processes)

    await assertAgreement(w, accepted)
  })
})
