import assert from 'node:assert/strict'
import { classicInstant } from '../../src/lib/cli/time.js'
import { storedRow } from '../helpers/rows.js'
import { run } from '../helpers/run.js'
import { type Document, HOUR, openSite, type Site, withoutTerminal } from '../helpers/site.js'

const SCHEDULED = { status: 'SCHEDULED' }

const reasons = (document: Document): string[] =>
  document.tasks.map(({ taskId, reason }: { taskId: string; reason: string }) => `${taskId} ${reason}`)

/** A task that a sender claimed two hours ago, five hours after it was due. */
const putClaimed = (site: Site, now: number, id = 'claimed') =>
  site.put(now - 9 * HOUR, { task_id: id, ...SCHEDULED, eta: now - 7 * HOUR, scheduled_id: `${id}-new`, claimed_at: now - 2 * HOUR })

describe('find-stale-scheduled', () => {
  it('prints the classic lines, oldest first: a claim counts from its claim, an overdue task from its eta', async () => {
    await using site = await openSite()
    const now = Date.now()
    await putClaimed(site, now)
    await site.put(now - 9 * HOUR, { task_id: 'overdue', ...SCHEDULED, eta: now - 3 * HOUR })
    await site.put(now - 9 * HOUR, { task_id: 'waiting', ...SCHEDULED, eta: now + HOUR })
    await site.put(now - 9 * HOUR, { task_id: 'sent', status: 'SCHEDULED_SENT', eta: now - 3 * HOUR, scheduled_id: 'x' })
    await site.put(now - 9 * HOUR, { task_id: 'not-scheduled' })
    const line = (hours: number, id: string) => `  ${classicInstant(new Date(now - hours * HOUR))} - ${id}: mail.send\n`

    const answer = { stdout: `Stale scheduled tasks:\n${line(3, 'overdue')}${line(2, 'claimed')}`, stderr: '', code: 0 }
    assert.deepEqual(await site.run(['find-stale-scheduled']), answer)
    assert.deepEqual(await site.run(['find-stale-scheduled-tasks']), answer)
    assert.deepEqual(await site.run(['find_stale_scheduled_tasks', '--hours', '1']), answer)
    const env = { TASKLEDGER_DATABASE: site.url }
    assert.deepEqual(await run('find-stale-scheduled', [], { cwd: site.folder, env }), answer)

    const older = { ...answer, stdout: `Stale scheduled tasks:\n${line(3, 'overdue')}` }
    assert.deepEqual(await site.run(['find-stale-scheduled', '--minutes', '150']), older)
  })

  it('prints the heading alone when nothing is stale', async () => {
    await using site = await openSite()
    assert.deepEqual(await site.run(['find-stale-scheduled']), { stdout: 'Stale scheduled tasks:\n', stderr: '', code: 0 })
  })

  it('prints one whole document with --json', async () => {
    await using site = await openSite()
    const at = Date.now()
    await putClaimed(site, at)
    const document = await site.json(['find-stale-scheduled', '--hours', '1'])
    const now = Date.parse(document.cutoff) + HOUR
    assert.ok(at <= now && now <= Date.now())
    const iso = (ms: number) => new Date(ms).toISOString()
    assert.deepEqual(document, {
      version: 1,
      kind: 'stale-scheduled',
      cutoff: iso(now - HOUR),
      olderThanMs: HOUR,
      count: 1,
      truncated: false,
      tasks: [
        {
          taskId: 'claimed',
          task: 'mail.send',
          status: 'SCHEDULED',
          reason: 'claimed',
          ageMs: now - (at - 2 * HOUR),
          submittedAt: iso(at - 9 * HOUR),
          updatedAt: iso(at - 9 * HOUR),
          eta: iso(at - 7 * HOUR),
          claimedAt: iso(at - 2 * HOUR),
          scheduledId: 'claimed-new',
          queue: 'default',
          workerId: null,
          leaseUntil: null,
          retries: 0,
        },
      ],
    })
  })

  it('lists the reasons asked for, and exits 1 with --check when it finds any', async () => {
    await using site = await openSite()
    const now = Date.now()
    await putClaimed(site, now)
    await site.put(now - 9 * HOUR, { task_id: 'overdue', ...SCHEDULED, eta: now - 3 * HOUR })
    const found = async (...flags: string[]) => reasons(await site.json(['find-stale-scheduled', '--check', ...flags], 1))
    assert.deepEqual(await found('--reason', 'claimed'), ['claimed claimed'])
    assert.deepEqual(await found('--reason', 'overdue'), ['overdue overdue'])
    assert.deepEqual(await found('--max', '1'), ['overdue overdue', 'claimed claimed'])
    assert.equal((await site.run(['find-stale-scheduled', '--check', '--max', '2'])).code, 0)
  })
})

describe('find-stale-scheduled --release', () => {
  it('gives up the claims listed, and only those, so that they are sent under new ids', async () => {
    await using site = await openSite()
    const now = Date.now()
    await putClaimed(site, now)
    await site.put(now - 9 * HOUR, { task_id: 'fresh', ...SCHEDULED, eta: now - 7 * HOUR, scheduled_id: 'fresh-new', claimed_at: now })
    const claimed = await storedRow(site.database, 'claimed')
    const fresh = await storedRow(site.database, 'fresh')

    const { stderr, code } = await site.run(['find-stale-scheduled', '--hours', '1', '--release', '--yes'])
    assert.deepEqual([stderr, code], ['Released 1 claims.\n', 0])
    assert.deepEqual(await storedRow(site.database, 'claimed'), { ...claimed, scheduled_id: null })
    assert.deepEqual(await storedRow(site.database, 'fresh'), fresh)

    const { items } = await site.json(['send-scheduled'])
    assert.equal(items[0].taskId, 'claimed')
    assert.notEqual(items[0].newTaskId, 'claimed-new')
  })

  it('says with --json how many it released', async () => {
    await using site = await openSite()
    await putClaimed(site, Date.now(), 'a')
    await putClaimed(site, Date.now(), 'b')
    const { released, count } = await site.json(['find-stale-scheduled', '--release', '--yes', '--limit', '1'])
    assert.deepEqual([released, count], [1, 1])
    assert.equal((await site.json(['find-stale-scheduled', '--release', '--yes'])).released, 1)
  })

  it('changes nothing with --dry-run', async () => {
    await using site = await openSite()
    const now = Date.now()
    await putClaimed(site, now)
    await site.put(now - 9 * HOUR, { task_id: 'overdue', ...SCHEDULED, eta: now - 3 * HOUR })
    const before = await storedRow(site.database, 'claimed')
    const { stderr, code } = await site.run(['find-stale-scheduled', '--release', '--dry-run'])
    assert.deepEqual([stderr, code], ['Would release 1 claims.\n', 0])
    assert.deepEqual(await storedRow(site.database, 'claimed'), before)
  })

  it('without a terminal needs --yes: exit 2, and nothing is released', async () => {
    await using site = await openSite()
    await putClaimed(site, Date.now())
    const { stderr, code } = await site.run(['find-stale-scheduled', '--release'], { input: 'y\n' })
    assert.match(stderr, /^taskledger: this needs a yes, and there is no terminal to ask on\n {2}give --yes/)
    assert.equal(code, 2)
    assert.equal((await storedRow(site.database, 'claimed')).scheduled_id, 'claimed-new')
  })

  it('asks on a terminal, and takes anything but yes for a no', async function () {
    if (withoutTerminal() !== null) this.skip()
    await using site = await openSite()
    await putClaimed(site, Date.now())
    const no = await site.terminal(['find-stale-scheduled', '--release'], { input: 'n\n' })
    assert.match(no.stdout, /Give up 1 claims\? \[y\/N\]/)
    assert.equal(no.code, 1)
    assert.equal((await storedRow(site.database, 'claimed')).scheduled_id, 'claimed-new')

    const yes = await site.terminal(['find-stale-scheduled', '--release'], { input: 'y\n' })
    assert.match(yes.stdout, /Released 1 claims\./)
    assert.equal(yes.code, 0)
    assert.equal((await storedRow(site.database, 'claimed')).scheduled_id, null)
  })
})
