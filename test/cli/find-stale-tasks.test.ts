import assert from 'node:assert/strict'
import { classicInstant } from '../../src/lib/cli/time.js'
import { run } from '../helpers/run.js'
import { type Document, HOUR, MINUTE, openSite, type Site, withoutTerminal } from '../helpers/site.js'

const EVIL = '\u001b[31mevil\n  2026-11-20 14:17:37.096000+00:00 - id: forged'
const SHOWN = '\\u001b[31mevil\\n  2026-11-20 14:17:37.096000+00:00 - id: forged'
const ESCAPE = '\u001b'

const ids = (document: Document): string[] => document.tasks.map(({ taskId }: { taskId: string }) => taskId)

/** One row for each reason, the oldest first, and rows of the same age that are none of the command's business. */
async function putEveryReason(site: Site, now: number): Promise<void> {
  const at = (hours: number) => now - hours * HOUR
  await site.put(at(7), { task_id: 'unpublished', published_at: null })
  await site.put(at(6), { task_id: 'unclaimed' })
  const started = { status: 'STARTED', worker_id: 'w1', lease_until: at(4) }
  await site.put(at(5), { task_id: 'back-in-the-queue', ...started, options: '{"acksLate":true}' })
  await site.put(at(4), { task_id: 'lost', ...started })
  await site.put(at(3), { task_id: 'stuck', ...started, lease_until: now + HOUR })
  await site.put(at(2.5), { task_id: 'stuck-by-its-own-word', ...started, status: 'BOILING', lease_until: now + HOUR })
  await site.put(at(8), { task_id: 'overdue', status: 'RETRY', published_at: null, eta: at(2), retries: 1 })

  for (const status of ['SUCCESS', 'FAILURE', 'REVOKED', 'IGNORED', 'SCHEDULED_SENT']) await site.put(at(7), { task_id: status, status })
  await site.put(at(7), { task_id: 'waiting', status: 'SCHEDULED', eta: now + HOUR })
  await site.put(at(7), { task_id: 'due', status: 'SCHEDULED', eta: at(6) })
  await site.put(at(7), { task_id: 'waiting-for-its-retry', status: 'RETRY', published_at: null, eta: now + HOUR })
  await site.put(at(7), { task_id: 'sent-again' })
  await site.put(now, { task_id: 'its-copy', retry_of: 'sent-again' })
}

describe('find-stale-tasks', () => {
  it('prints the classic lines, oldest first', async () => {
    await using site = await openSite()
    const now = Date.now()
    await site.put(now - 2 * HOUR, { task_id: 'younger', task: 'email_workers.tasks.send_email' })
    await site.put(now - 3 * HOUR, { task_id: 'older', task: 'mail.receive', status: 'STARTED', worker_id: 'w', lease_until: 1 })
    const line = (hours: number, rest: string) => `  ${classicInstant(new Date(now - hours * HOUR))} - ${rest}\n`

    assert.deepEqual(await site.run(['find-stale-tasks', '--hours', '1']), {
      stdout: `Stale tasks:\n${line(3, 'older: mail.receive')}${line(2, 'younger: email_workers.tasks.send_email')}`,
      stderr: '',
      code: 0,
    })
  })

  it('prints the heading alone when nothing is stale', async () => {
    await using site = await openSite()
    assert.deepEqual(await site.run(['find-stale-tasks']), { stdout: 'Stale tasks:\n', stderr: '', code: 0 })
  })

  it('is also a program of its own, and answers to the ancestor’s name', async () => {
    await using site = await openSite()
    await site.put(Date.now() - 2 * HOUR, { task_id: 'one' })
    const answer = await site.run(['find-stale-tasks', '--hours', '1'])
    assert.match(answer.stdout, /one/)

    assert.deepEqual(await site.run(['find_stale_tasks', '--hours', '1']), answer)
    const env = { TASKLEDGER_DATABASE: site.url }
    assert.deepEqual(await run('find-stale-tasks', ['--hours', '1'], { cwd: site.folder, env }), answer)
  })

  it('gives every row its reason, and leaves out what has ended, waits for its eta or was sent again', async () => {
    await using site = await openSite()
    await putEveryReason(site, Date.now())
    const { tasks } = await site.json(['find-stale-tasks', '--hours', '1'])
    assert.deepEqual(
      tasks.map(({ taskId, reason }: { taskId: string; reason: string }) => [taskId, reason]),
      [
        ['unpublished', 'unpublished'],
        ['unclaimed', 'unclaimed'],
        ['back-in-the-queue', 'unclaimed'],
        ['lost', 'lost'],
        ['stuck', 'stuck'],
        ['stuck-by-its-own-word', 'stuck'],
        ['overdue', 'overdue'],
      ],
    )
  })

  it('lists only the reasons asked for', async () => {
    await using site = await openSite()
    await putEveryReason(site, Date.now())
    assert.deepEqual(ids(await site.json(['find-stale-tasks', '--reason', 'lost', '--reason', 'overdue'])), ['lost', 'overdue'])
  })

  it('prints one whole document with --json', async () => {
    await using site = await openSite()
    const at = Date.now() - 2 * HOUR
    await site.put(at, { task_id: 'lost', status: 'STARTED', worker_id: 'w1', lease_until: at + MINUTE, queue: 'mail', retries: 2 })
    const before = Date.now()
    const document = await site.json(['find-stale-tasks', '--hours', '1'])
    const now = Date.parse(document.cutoff) + HOUR
    assert.ok(before <= now && now <= Date.now())
    assert.deepEqual(document, {
      version: 1,
      kind: 'stale-tasks',
      cutoff: new Date(now - HOUR).toISOString(),
      olderThanMs: HOUR,
      count: 1,
      truncated: false,
      tasks: [
        {
          taskId: 'lost',
          task: 'mail.send',
          status: 'STARTED',
          reason: 'lost',
          ageMs: now - at,
          submittedAt: new Date(at).toISOString(),
          updatedAt: new Date(at).toISOString(),
          eta: null,
          claimedAt: null,
          scheduledId: null,
          queue: 'mail',
          workerId: 'w1',
          leaseUntil: new Date(at + MINUTE).toISOString(),
          retries: 2,
        },
      ],
      terminalStates: ['SUCCESS', 'FAILURE', 'REVOKED', 'IGNORED', 'SCHEDULED_SENT'],
    })
  })

  it('lists a row from the age asked for on', async () => {
    await using site = await openSite()
    const now = Date.now()
    await site.put(now - HOUR, { task_id: 'an-hour-old' })
    await site.put(now - 59 * MINUTE, { task_id: 'not-yet' })
    assert.deepEqual(ids(await site.json(['find-stale-tasks', '--hours', '1'])), ['an-hour-old'])
  })

  it('without an age lists everything that has not ended', async () => {
    await using site = await openSite()
    await site.put(Date.now(), { task_id: 'new' })
    assert.deepEqual(ids(await site.json(['find-stale-tasks'])), ['new'])
  })

  it('adds its ages up', async () => {
    await using site = await openSite()
    const ages = '--weeks 1 --days 1 --hours 1 --minutes 1 --seconds 1 --microseconds 1000 --older-than 1h30m'.split(' ')
    const { olderThanMs } = await site.json(['find-stale-tasks', ...ages])
    assert.equal(olderThanMs, (8 * 24 + 1) * HOUR + MINUTE + 1000 + 1 + 90 * MINUTE)
  })

  it('takes the statuses that count as ended from --terminal-state alone', async () => {
    await using site = await openSite()
    const at = Date.now() - HOUR
    for (const status of ['PENDING', 'SUCCESS', 'FAILURE', 'REVOKED', 'IGNORED']) await site.put(at, { task_id: status, status })
    const stale = ['find-stale-tasks', '--terminal-state', 'SUCCESS', '--terminal-state', 'REVOKED']
    const document = await site.json(stale)
    assert.deepEqual(ids(document), ['PENDING', 'FAILURE', 'IGNORED'])
    assert.deepEqual(document.terminalStates, ['SUCCESS', 'REVOKED'])
    assert.deepEqual(ids(await site.json([...stale, '--reason', 'ended'])), ['FAILURE', 'IGNORED'])
  })

  it('lists tasks of a name, a glob or a queue', async () => {
    await using site = await openSite()
    const at = Date.now() - HOUR
    await site.put(at, { task_id: 'a', task: 'mail.send' })
    await site.put(at, { task_id: 'b', task: 'mail.receive', queue: 'slow' })
    await site.put(at, { task_id: 'c', task: 'audit' })
    assert.deepEqual(ids(await site.json(['find-stale-tasks', '--task', 'mail.*'])), ['a', 'b'])
    assert.deepEqual(ids(await site.json(['find-stale-tasks', '--task', 'audit', '--task', 'mail.send'])), ['a', 'c'])
    assert.deepEqual(ids(await site.json(['find-stale-tasks', '--task', 'mail.*', '--queue', 'slow'])), ['b'])
  })

  it('lists at most --limit rows and says that there are more', async () => {
    await using site = await openSite()
    for (const hours of [1, 2, 3]) await site.put(Date.now() - hours * HOUR, { task_id: `${hours}h` })
    const two = await site.json(['find-stale-tasks', '--limit', '2'])
    assert.deepEqual([ids(two), two.count, two.truncated], [['3h', '2h'], 2, true])
    const three = await site.json(['find-stale-tasks', '--limit', '3'])
    assert.deepEqual([three.count, three.truncated], [3, false])
  })

  it('prints ids alone with --format ids', async () => {
    await using site = await openSite()
    for (const hours of [1, 2]) await site.put(Date.now() - hours * HOUR, { task_id: `${hours}h` })
    assert.deepEqual(await site.run(['find-stale-tasks', '--format', 'ids']), { stdout: '2h\n1h\n', stderr: '', code: 0 })
  })

  it('exits 1 with --check when it finds anything, and prints it all the same', async () => {
    await using site = await openSite()
    assert.equal((await site.run(['find-stale-tasks', '--check'])).code, 0)
    await site.put(Date.now() - 2 * HOUR, { task_id: 'one' })
    assert.equal((await site.run(['find-stale-tasks'])).code, 0)
    assert.equal((await site.run(['find-stale-tasks', '--hours', '3', '--check'])).code, 0)
    const { stdout, code } = await site.run(['find-stale-tasks', '--check', '--format', 'ids'])
    assert.deepEqual([stdout, code], ['one\n', 1])
    assert.deepEqual(ids(await site.json(['find-stale-tasks', '--check'], 1)), ['one'])
  })

  it('tolerates --max rows with --check, also more than it lists', async () => {
    await using site = await openSite()
    for (const id of ['a', 'b', 'c']) await site.put(Date.now() - HOUR, { task_id: id })
    const check = async (...flags: string[]) => (await site.run(['find-stale-tasks', '--check', ...flags])).code
    assert.equal(await check('--max', '3'), 0)
    assert.equal(await check('--max', '2'), 1)
    assert.equal(await check('--max', '3', '--limit', '1'), 0)
    assert.equal(await check('--max', '2', '--limit', '1'), 1)
  })

  it('shows a task’s name without obeying it, and on its own line, in every format', async () => {
    await using site = await openSite()
    const at = Date.now() - HOUR
    await site.put(at, { task_id: 'id', task: EVIL, queue: `${ESCAPE}[2J`, status: `${ESCAPE}]0;title\u0007` })
    const line = `  ${classicInstant(new Date(at))} - id: ${SHOWN}`
    assert.equal((await site.run(['find-stale-tasks'])).stdout, `Stale tasks:\n${line}\n`)
    for (const flags of [['--format', 'table'], ['--format', 'ids'], ['--json']]) {
      const { stdout, stderr } = await site.run(['find-stale-tasks', ...flags])
      assert.ok(!`${stdout}${stderr}`.includes(ESCAPE), stdout)
    }
    assert.equal((await site.json(['find-stale-tasks'])).tasks[0].task, EVIL)
  })
})

describe('find-stale-tasks on a terminal', () => {
  before(function () {
    if (withoutTerminal() !== null) this.skip()
  })

  it('prints a table and, on what puts it right, advice', async () => {
    await using site = await openSite()
    const at = new Date(Date.now() - 27 * HOUR)
    await site.put(at.getTime(), { task_id: 'an-id', queue: 'mail' })
    const { stdout, code } = await site.terminal(['find-stale-tasks', '--hours', '1', '--no-color'])
    const local = `${at.toISOString().slice(0, 19).replace('T', ' ')} +00:00`
    assert.deepEqual(
      [stdout.split('\n'), code],
      [
        [
          'Last update                   Age  Reason     Status   Queue  Task       Id',
          `${local}  1d 3h  unclaimed  PENDING  mail   mail.send  an-id`,
          '1 stale task older than 1h.',
          '  unclaimed: it waits for a worker of its queue',
          '',
        ],
        0,
      ],
    )
  })

  it('says in words that nothing is stale', async () => {
    await using site = await openSite()
    const { stdout } = await site.terminal(['find-stale-tasks', '--days', '1'])
    assert.equal(stdout, 'No stale tasks older than 1d.\n')
  })

  it('colours the reason, and nothing with NO_COLOR or --no-color', async () => {
    await using site = await openSite()
    await site.put(Date.now() - HOUR, { task_id: 'id', task: EVIL })
    const escapes = async (flags: string[], env = {}) => {
      const { stdout } = await site.terminal(['find-stale-tasks', ...flags], { env })
      assert.ok(stdout.includes(SHOWN.slice(0, 15)), stdout)
      // biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is the point
      return stdout.match(/\u001b\[\d+m/g) ?? []
    }
    assert.deepEqual(await escapes([]), [`${ESCAPE}[33m`, `${ESCAPE}[39m`])
    assert.deepEqual(await escapes([], { NO_COLOR: '1' }), [])
    assert.deepEqual(await escapes(['--no-color']), [])
  })
})
