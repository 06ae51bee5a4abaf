import assert from 'node:assert/strict'
import { itOnSqlite } from '../helpers/databases.js'
import { Processes } from '../helpers/processes.js'
import { runs, side } from '../helpers/side-effects.js'
import { until } from '../helpers/until.js'
import { openWorld, type World } from '../helpers/world.js'

const DEADLINE_MS = 60_000

const WORKER = ['worker', '--app', './test/fixtures/app.mjs', '--log-level', 'error']

/** When each task was executed, by its id; fails on a task that was executed twice. */
function executions(w: World): Map<string, number> {
  const found = new Map<string, number>()
  for (const { id, number: at } of runs(w)) {
    assert.ok(!found.has(id), `${id} was executed twice`)
    found.set(id, at)
  }
  return found
}

const environment = (w: World) => w.env

/** The message that a scheduled task became: its id and when it was sent. */
interface SentAs {
  readonly task_id: string
  readonly eta: number
  readonly new_id: string
  readonly submitted_at: number
  readonly messages: number
}

const sentAs = async (w: World) =>
  (await w.app.database()).all<SentAs>(
    `SELECT old.task_id, old.eta, new.task_id AS new_id, new.submitted_at,
            (SELECT count(*) FROM task_message AS m WHERE m.task_id = new.task_id) AS messages
       FROM task_result AS old LEFT JOIN task_result AS new ON new.task_id = old.scheduled_id
      WHERE old.eta IS NOT NULL`,
    [],
  )

describe('many processes on one ledger', () => {
  it('execute each of 2000 tasks exactly once, half of them scheduled: eight workers, two senders', async function () {
    this.timeout(DEADLINE_MS + 10_000)
    await using w = await openWorld({ now: Date.now })
    await using processes = new Processes()
    const eight = Array.from({ length: 8 }, () => processes.command([...WORKER, '--no-sender'], environment(w)))
    const two = Array.from({ length: 2 }, () => processes.command([...WORKER, '-Q', 'of no task'], environment(w)))

    const eta = Date.now() + 500
    const sent = await Promise.all(
      Array.from({ length: 2000 }, (_, i) => w.app.sendTask('note_late', [side(w)], i % 2 === 0 ? {} : { eta: new Date(eta + i) })),
    )
    await until(async () => (await w.app.tasks.count({ statuses: ['SUCCESS'] })) >= 2000, '2000 tasks to succeed', DEADLINE_MS)

    const done = executions(w)
    assert.equal(done.size, 2000)
    for (const [i, { id }] of sent.entries()) {
      const row = await w.app.tasks.get(id)
      const at = done.get(row?.scheduledId ?? id)
      assert.ok(at !== undefined, `${id} was not executed`)
      if (i % 2 === 1) assert.ok(at > eta + i, `${id} was executed ${eta + i - at} ms before its eta`)
    }
    assert.deepEqual(await w.app.tasks.findStale(), [])
    for (const { stderr } of [...eight, ...two]) assert.deepEqual(stderr, []) // the error log
  })
})

describe('a program that sends what is due, killed again and again', () => {
  itOnSqlite('sends each of 300 tasks exactly once, and none before its eta', async function () {
    this.timeout(DEADLINE_MS)
    await using w = await openWorld({ now: Date.now })
    await using processes = new Processes()
    const first = Date.now() + 200
    const all = Array.from({ length: 300 }, (_, i) => w.app.sendTask('note_late', ['nowhere'], { eta: new Date(first + i * 8) }))
    await Promise.all(all)

    const open = async () => w.app.tasks.count({ statuses: ['SCHEDULED'] })
    for (let kills = 0; (await open()) > 0; kills++) {
      assert.ok(kills < 100, 'the rows are never all sent')
      const program = processes.fixture('send-due.mjs', [], environment(w))
      await program.said('sending')
      const lifeMs = Math.random() * (80 + 20 * kills) // on a slow machine, too, one of them gets to send something
      await new Promise((resolve) => setTimeout(resolve, lifeMs))
      await program.kill()
    }

    const sent = await sentAs(w)
    assert.equal(sent.length, 300)
    assert.equal(new Set(sent.map(({ new_id }) => new_id)).size, 300)
    for (const { task_id, eta, submitted_at, messages } of sent) {
      assert.equal(messages, 1, `${task_id} was sent ${messages} times`)
      assert.ok(submitted_at > eta, `${task_id} was sent ${eta - submitted_at} ms before its eta`)
    }
    assert.deepEqual(await w.app.tasks.findStaleScheduled(), [])
  })
})
