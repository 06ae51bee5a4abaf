import assert from 'node:assert/strict'
import { chain, chord } from '../../src/lib/canvas/compose.js'
import type { Canvas } from '../../src/lib/task/signature.js'
import { assertFinalIsFinal, watchFinalRows } from '../helpers/final-rows.js'
import { Processes, type Running } from '../helpers/processes.js'
import { runs, side } from '../helpers/side-effects.js'
import { until } from '../helpers/until.js'
import { idsOf, openStage, type Stage, si, sig } from '../helpers/workflows.js'

const DEADLINE_MS = 120_000
const CHORDS = 20
const MEMBERS = 25

const WORKER = ['worker', '--app', './test/fixtures/app.mjs', '--log-level', 'error']

/** The chords: a header of single tasks and a chain, and a body that another task follows. */
function sendAll(w: Stage): Promise<Canvas[]> {
  const file = side(w)
  const late = { acksLate: true }
  const members = Array.from({ length: MEMBERS - 1 }, (_, i) => sig('pass', [file, i], late))
  const last = chain([si('pass', [file, 'unused'], late), si('pass', [file, MEMBERS - 1], late)])
  const body = chain([sig('count', [file], late), si('pass', [file, 'done'], late)])
  return Promise.all(Array.from({ length: CHORDS }, () => w.send(chord([...members, last], body))))
}

/** How often each task was executed, by its id. */
function executions(w: Stage): Map<string, number> {
  const counts = new Map<string, number>()
  for (const { id } of runs(w)) counts.set(id, (counts.get(id) ?? 0) + 1)
  return counts
}

/** Each group has counted each of its members once, each body has had all the results, and nothing was recorded twice. */
async function assertCounted(w: Stage, sent: readonly Canvas[]): Promise<void> {
  const groups = await w.database.all('SELECT size, remaining, failed, finished_at IS NULL AS open FROM task_group', [])
  assert.deepEqual(
    groups,
    sent.map(() => ({ size: MEMBERS, remaining: 0, failed: 0, open: 0 })),
  )
  for (const whole of sent) {
    const [body, last] = await w.ended(...idsOf(whole).slice(-2))
    assert.deepEqual([body?.result, last?.result], [[MEMBERS, (MEMBERS * (MEMBERS - 1)) / 2], 'done'])
  }
  assert.equal(await w.app.tasks.count({}), sent.flatMap(idsOf).length)
}

describe('many processes at work on chords', () => {
  it('count each arrival once, and run each body once: eight workers', async function () {
    this.timeout(DEADLINE_MS + 20_000)
    await using w = await openStage()
    await using processes = new Processes()
    const eight = Array.from({ length: 8 }, () => processes.command([...WORKER, '--no-sender'], w.env))
    const sent = await sendAll(w)
    const all = sent.flatMap(idsOf)
    await until(async () => (await w.app.tasks.count({ statuses: ['SUCCESS'] })) >= all.length, 'everything to succeed', DEADLINE_MS)
    await assertCounted(w, sent)
    const done = executions(w)
    assert.deepEqual([done.size, new Set(done.values())], [all.length, new Set([1])])
    for (const { stderr } of eight) assert.deepEqual(stderr, []) // the error log
  })

  it('count each arrival once also when workers are killed and their messages come again', async function () {
    this.timeout(DEADLINE_MS + 20_000)
    await using w = await openStage({ settings: { lease: 1 } })
    await using processes = new Processes()
    await watchFinalRows(w.database)
    const environment = { ...w.env, TASKLEDGER_LEASE: '1', TASKLEDGER_MAX_DELIVERIES: '1000' }
    const start = (): Running => processes.command(WORKER, environment)
    const sent = await sendAll(w)
    const total = sent.flatMap(idsOf).length
    const succeeded = () => w.app.tasks.count({ statuses: ['SUCCESS'] })
    const workers = Array.from({ length: 3 }, start)
    for (let kills = 0; (await succeeded()) < total && kills < 12; kills++) {
      const before = await succeeded()
      await until(async () => (await succeeded()) > before || (await succeeded()) === total, 'something to be done', DEADLINE_MS)
      await workers[kills % workers.length]?.kill()
      workers[kills % workers.length] = start()
    }
    await until(async () => (await succeeded()) >= total, 'everything to succeed', DEADLINE_MS)
    await assertCounted(w, sent)
    await assertFinalIsFinal(w.database)
  })
})
