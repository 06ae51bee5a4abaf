import assert from 'node:assert/strict'
import { current, SQLITE } from '../helpers/databases.js'
import { ended, HOUR, openSite, type Site, withoutTerminal } from '../helpers/site.js'
import { until } from '../helpers/until.js'

const MANY = 100_000

const ids = async (site: Site) => {
  const rows = await site.database.all<{ task_id: string }>('SELECT task_id FROM task_result ORDER BY id', [])
  return rows.map((row) => row.task_id).join(' ')
}

/** Four tasks that ended, the oldest first, and open ones that are older than all of them. */
async function putTasks(site: Site): Promise<void> {
  const now = Date.now()
  await site.put(now - 9 * HOUR, { task_id: 'pending' })
  await site.put(now - 9 * HOUR, { task_id: 'scheduled', status: 'SCHEDULED', eta: now - 8 * HOUR })
  await site.put(now - 9 * HOUR, { task_id: 'lost', status: 'STARTED', worker_id: 'w', lease_until: 1, result_expires_at: 1 })
  await site.put(now - 4 * HOUR, { task_id: 'a', status: 'SUCCESS', result_expires_at: now - HOUR })
  await site.put(now - 3 * HOUR, { task_id: 'b', status: 'FAILURE', result_expires_at: now + HOUR })
  await site.put(now - 2 * HOUR, { task_id: 'c', status: 'SUCCESS' })
  await site.put(now - 1 * HOUR, { task_id: 'd', status: 'REVOKED' })
  await site.database.run("INSERT INTO task_attempt (task_id, seq, at, kind) VALUES ('a', 1, 0, 'retry'), ('d', 1, 0, 'retry')", [])
}

describe('purge', () => {
  const bounds: readonly (readonly [flags: string, left: string])[] = [
    ['--hours 3', 'c d'],
    ['--minutes 150', 'c d'],
    ['--expired', 'b c d'],
    ['--keep 3', 'b c d'],
    ['--keep 9', 'a b c d'],
    ['--keep 0', ''],
    ['--all', ''],
    ['--all --status SUCCESS', 'b d'],
    ['--all --status FAILURE --status REVOKED', 'a c'],
    ['--hours 2 --status SUCCESS', 'b d'],
    ['--weeks 1', 'a b c d'],
  ]
  for (const [flags, left] of bounds) {
    it(`${flags} leaves ${left || 'none'} of a b c d, and every open task`, async () => {
      await using site = await openSite()
      await putTasks(site)
      const open = 'pending scheduled lost'
      const before = `${open} a b c d`
      const found = 4 - left.split(' ').filter(Boolean).length

      const dry = await site.run(['purge', ...flags.split(' '), '--dry-run'])
      assert.deepEqual(dry, { stdout: `Would delete ${found} records.\n`, stderr: '', code: 0 })
      assert.equal(await ids(site), before)

      assert.deepEqual(await site.json(['purge', ...flags.split(' '), '--yes']), {
        version: 1,
        kind: 'purge',
        dryRun: false,
        found,
        deleted: found,
      })
      assert.equal(await ids(site), `${open} ${left}`.trim())
    })
  }

  it('takes the history of a task with it', async () => {
    await using site = await openSite()
    await putTasks(site)
    await site.run(['purge', '--hours', '3', '--yes'])
    assert.deepEqual(await site.database.all('SELECT task_id FROM task_attempt', []), [{ task_id: 'd' }])
  })

  it('needs one bound: exit 2, and nothing is deleted', async () => {
    await using site = await openSite()
    await putTasks(site)
    const stderr = 'taskledger: expected one bound on what is deleted\n  give an age such as --days 30, or --expired, --keep N or --all\n'
    for (const flags of [[], ['--all', '--expired'], ['--hours', '1', '--keep', '1'], ['--status', 'SUCCESS'], ['--hours', '0']]) {
      assert.deepEqual(await site.run(['purge', ...flags, '--yes']), { stdout: '', stderr, code: 2 }, flags.join(' '))
    }
    assert.equal((await ids(site)).split(' ').length, 7)
  })

  it('refuses a status that is not final', async () => {
    await using site = await openSite()
    const { stderr, code } = await site.run(['purge', '--all', '--status', 'PENDING', '--yes'])
    assert.match(stderr, /^taskledger: Expected --status=PENDING to be one of: SUCCESS, FAILURE, REVOKED, IGNORED, SCHEDULED_SENT\n/)
    assert.equal(code, 2)
  })

  it('without a terminal needs --yes: exit 2, and nothing is deleted', async () => {
    await using site = await openSite()
    await putTasks(site)
    const { stdout, stderr, code } = await site.run(['purge', '--all'], { input: 'y\n' })
    assert.match(stderr, /^taskledger: this needs a yes, and there is no terminal to ask on\n {2}give --yes/)
    assert.deepEqual([stdout, code, (await ids(site)).split(' ').length], ['', 2, 7])
  })

  it('asks on a terminal, and takes anything but yes for a no', async function () {
    if (withoutTerminal() !== null) this.skip()
    await using site = await openSite()
    await putTasks(site)
    const no = await site.terminal(['purge', '--all'], { input: '\n' })
    assert.match(no.stdout, /Delete 4 records\? \[y\/N\].*Deleted 0 of 4 records\./s)
    assert.equal(no.code, 1)
    const yes = await site.terminal(['purge', '--all'], { input: 'y\n' })
    assert.match(yes.stdout, /Deleted 4 of 4 records\./)
    assert.deepEqual([yes.code, await ids(site)], [0, 'pending scheduled lost'])
  })

  it('stopped by Ctrl-C says how far it came, exits 130 and leaves a consistent ledger', async () => {
    await using site = await openSite()
    await site.put(Date.now() - HOUR, { task_id: 'open' })
    await site.database.run(
      `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
       INSERT INTO task_result (task_id, task, args, kwargs, status, queue, exchange, routing_key, priority, retries, root_id, options, submitted_at, published_at, updated_at, finished_at)
       SELECT 'many-' || i, 'mail.send', '[]', '{}', 'SUCCESS', 'default', '', 'default', 0, 0, 'many-' || i, '{}', 1, 1, 1, 1 FROM n`,
      [MANY],
    )
    await site.database.run(
      "INSERT INTO task_attempt (task_id, seq, at, kind) SELECT task_id, 1, 1, 'retry' FROM task_result WHERE id % 10 = 0",
      [],
    )
    const left = async () => site.app.tasks.count({ statuses: ['SUCCESS'] })

    const purge = site.start('purge', '--all', '--yes')
    await until(async () => (await left()) < MANY, 'the first records to be gone')
    purge.signal('SIGINT')
    assert.deepEqual(await purge.end(), ended(130))

    const deleted = MANY - (await left())
    assert.ok(deleted > 0 && deleted < MANY, `it deleted ${deleted}`)
    assert.deepEqual(purge.stdout, [`Deleted ${deleted} of ${MANY} records.`])
    if (current().ledger === SQLITE) assert.deepEqual(await site.database.all('PRAGMA integrity_check', []), [{ integrity_check: 'ok' }])
    const orphans = 'SELECT 1 FROM task_attempt AS a WHERE NOT EXISTS (SELECT 1 FROM task_result AS r WHERE r.task_id = a.task_id)'
    assert.deepEqual(await site.database.all(orphans, []), [])
    assert.ok(await site.app.tasks.get('open'))
  })
})
