import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { current, SQLITE } from '../helpers/databases.js'
import { side } from '../helpers/side-effects.js'
import { HOUR, openSite, type Site } from '../helpers/site.js'

const MANY = 100_000

/** What a worker held of memory after its work, in MiB, and how many milliseconds after its eta each task started. */
interface Seen {
  readonly resident: number
  readonly late: readonly number[]
}

/** Schedules tasks for an hour from now, as so many publishes leave them. */
async function scheduleMany(site: Site): Promise<void> {
  const now = Date.now()
  await site.database.run(
    `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
     INSERT INTO task_result (task_id, task, args, kwargs, status, queue, exchange, routing_key, priority, eta, retries, root_id,
                              options, submitted_at, updated_at)
     SELECT 'far-' || i, 'note_early', ?, '{}', 'SCHEDULED', 'default', '', 'default', 0, CAST(? AS bigint) + i, 0, 'far-' || i, '{}', ?, ? FROM n`,
    [MANY, JSON.stringify(['x'.repeat(300)]), now + HOUR, now, now],
  )
  // not for whoever commits next to make up for
  if (current().ledger === SQLITE) await site.database.all('PRAGMA wal_checkpoint(TRUNCATE)', [])
}

/** Has a worker run twenty tasks, each at its own eta. */
async function workOn(site: Site): Promise<Seen> {
  const worker = site.start('worker', '--app', 'test/fixtures/app.mjs')
  const note = () => site.app.sendTask('note_early', [side(site)])
  await (await note()).get({ timeout: 10 })
  const first = Date.now() + 300
  const etas = Array.from({ length: 20 }, (_, n) => new Date(first + n * 50))
  const send = (eta: Date) => site.app.sendTask('note_early', [side(site)], { eta })
  const results = await Promise.all(etas.map(send))
  const late: number[] = []
  for (const [n, result] of results.entries()) {
    await result.get({ timeout: 15 })
    const { scheduledId } = (await site.app.tasks.get(result.id)) ?? {}
    const row = await site.app.tasks.get(scheduledId ?? '')
    late.push((row?.startedAt?.getTime() ?? 0) - (etas[n]?.getTime() ?? 0))
  }
  const [{ pid } = { pid: 0 }] = await site.database.all<{ pid: number }>('SELECT pid FROM task_worker', [])
  const { stdout } = spawnSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' })
  worker.signal('SIGTERM')
  await worker.end()
  return { resident: Number(stdout) / 1024, late: late.sort((a, b) => a - b) }
}

describe('a hundred thousand scheduled tasks', () => {
  // Celery's workers hold every one of them in memory until it is due
  it('cost a worker no memory, and do not keep those that are due from starting at their etas', async function () {
    this.timeout(60_000)
    await using site = await openSite()
    const alone = await workOn(site)
    await scheduleMany(site)
    const among = await workOn(site)

    assert.ok(among.resident - alone.resident < 25, `${among.resident} MiB instead of ${alone.resident}`)
    assert.ok((among.late[0] ?? 0) > 0, `started ${among.late} ms after its eta`)
    assert.ok((among.late[10] ?? 0) < 1000, `started ${among.late} ms after its eta`) // the median: one may meet a busy machine
    assert.equal(await site.app.tasks.count({ statuses: ['SCHEDULED'] }), MANY)
  })
})
