import assert from 'node:assert/strict'
import { storedRow } from '../helpers/rows.js'
import { HOUR, MINUTE, openSite, SECOND, type Site, withoutTerminal } from '../helpers/site.js'

const FAILED = { status: 'FAILURE', error_type: 'SmtpError', error_message: 'no route', traceback: 'SmtpError: no route\n    at send' }

interface Item {
  readonly taskId: string
  readonly newTaskId: string | null
  readonly error: string | null
}

const sentIds = ({ items }: { items: Item[] }): string[] => items.filter((item) => item.newTaskId !== null).map((item) => item.taskId)

const copiesOf = (site: Site, taskId: string) =>
  site.database.all<{ task_id: string }>('SELECT task_id FROM task_result WHERE retry_of = ? ORDER BY id', [taskId])

const rows = async (site: Site): Promise<number> => (await site.database.all('SELECT 1 FROM task_result', [])).length

/** Failed tasks of several kinds, an hour old and older, and one that is lost. */
async function putFailures(site: Site): Promise<void> {
  const now = Date.now()
  await site.put(now - 4 * HOUR, { task_id: 'a', task: 'mail.send', ...FAILED })
  await site.put(now - 3 * HOUR, { task_id: 'b', task: 'mail.receive', ...FAILED, queue: 'slow' })
  await site.put(now - 2 * HOUR, { task_id: 'c', task: 'audit', ...FAILED, error_type: 'TypeError' })
  await site.put(now - 2 * HOUR, { task_id: 'revoked', task: 'audit', status: 'REVOKED' })
  await site.put(now - 2 * HOUR, { task_id: 'lost', status: 'STARTED', worker_id: 'w', lease_until: now - HOUR })
  await site.put(now - 2 * HOUR, { task_id: 'done', status: 'SUCCESS' })
}

describe('retry of a task by its id', () => {
  it('sends a copy that carries everything, and leaves the original as it was, byte for byte', async () => {
    await using site = await openSite()
    const at = Date.now() - HOUR
    const carried = {
      task: 'mail.send',
      args: '["a@b.c",1]',
      kwargs: '{"subject":"x"}',
      queue: 'mail',
      routing_key: 'mail',
      priority: 7,
      expires: at + 3 * HOUR,
      max_retries: 5,
      parent_id: 'parent',
      root_id: 'root',
      periodic_name: 'nightly',
    }
    await site.put(at, { task_id: 'old', ...FAILED, ...carried, retries: 3, options: '{"headers":{"trace":"1"},"ignoreResult":true}' })
    const before = await storedRow(site.database, 'old')

    const { stdout, stderr, code } = await site.run(['retry', 'old'])
    const [copy] = await copiesOf(site, 'old')
    assert.deepEqual([stdout, stderr, code], [`  old → ${copy?.task_id}  mail.send\n`, 'Retried 1 of 1 task.\n', 0])
    assert.deepEqual(await storedRow(site.database, 'old'), before)

    const row = await storedRow(site.database, copy?.task_id ?? '')
    const { task, args, kwargs, queue, routing_key, priority, expires, max_retries, parent_id, root_id, periodic_name } = row
    assert.deepEqual(
      { task, args, kwargs, queue, routing_key, priority, expires, max_retries, parent_id, root_id, periodic_name },
      { ...carried, max_retries },
    )
    assert.deepEqual(JSON.parse(row.options), JSON.parse(before.options))
    assert.deepEqual([row.status, row.retries, row.error_type, row.traceback], ['PENDING', 0, null, null])
  })

  it('takes several ids, and the unique beginning of one', async () => {
    await using site = await openSite()
    const at = Date.now() - HOUR
    for (const id of ['0197b2c1-6b0e', '0197b2c1-7000', 'third']) await site.put(at, { task_id: id, ...FAILED })
    assert.deepEqual(sentIds(await site.json(['retry', '0197b2c1-6', 'third', 'third'])), ['0197b2c1-6b0e', 'third'])
    const { stderr, code } = await site.run(['retry', '0197b2c1'])
    assert.equal(stderr, 'taskledger: the id 0197b2c1 may be any of 0197b2c1-6b0e, 0197b2c1-7000\n  give more of it\n')
    assert.equal(code, 2)
  })

  it('takes ids from stdin for -, one a line', async () => {
    await using site = await openSite()
    await putFailures(site)
    const { stderr, code } = await site.run(['retry', '-'], { input: 'a\nlost\r\n\nc' })
    assert.deepEqual([stderr, code], ['Retried 3 of 3 tasks.\n', 0])
    for (const id of ['a', 'lost', 'c']) assert.equal((await copiesOf(site, id)).length, 1)
    assert.deepEqual(await site.run(['retry', '-']), { stdout: '', stderr: 'Retried 0 of 0 tasks.\n', code: 0 })
  })

  it('of an id that no task has is exit 2, and sends nothing', async () => {
    await using site = await openSite()
    await putFailures(site)
    const { stdout, stderr, code } = await site.run(['retry', 'a', 'nobody'])
    assert.deepEqual(
      [stdout, stderr, code],
      ['', 'taskledger: there is no task with the id nobody\n  taskledger list shows the newest\n', 2],
    )
    assert.deepEqual(await copiesOf(site, 'a'), [])
  })

  it('prints one whole document with --json', async () => {
    await using site = await openSite()
    await putFailures(site)
    const document = await site.json(['retry', 'a'])
    const [copy] = await copiesOf(site, 'a')
    assert.deepEqual(document, {
      version: 1,
      kind: 'retry',
      dryRun: false,
      requested: 1,
      sent: 1,
      failed: 0,
      items: [{ taskId: 'a', task: 'mail.send', newTaskId: copy?.task_id, error: null }],
    })
  })

  it('is shown by both', async () => {
    await using site = await openSite()
    await putFailures(site)
    const [item] = (await site.json(['retry', 'a'])).items
    const { tasks } = await site.json(['show', 'a', item.newTaskId])
    assert.deepEqual([tasks[0].retriedAs, tasks[1].retryOf], [[item.newTaskId], 'a'])
  })
})

describe('retry of a selection', () => {
  const selections: readonly (readonly [what: string, flags: string, expected: readonly string[]])[] = [
    ['a glob: those that failed', '--task mail.*', ['a', 'b']],
    ['two globs', '--task audit --task mail.send', ['a', 'c']],
    ['a queue', '--queue slow', ['b']],
    ['a type of error', '--error-type SmtpError', ['a', 'b']],
    ['a status', '--status REVOKED', ['revoked']],
    ['an age', '--minutes 150', ['a', 'b']],
    ['a time', '--since 150m --task *', ['c']],
    ['several flags, all of which must hold', '--task mail.* --queue slow --error-type SmtpError', ['b']],
    ['what find-stale-tasks lists', '--from-stale --hours 1', ['lost']],
    ['what find-stale-tasks lists for a reason', '--from-stale --reason unclaimed', []],
  ]
  for (const [what, flags, expected] of selections) {
    it(`by ${what} sends the oldest first`, async () => {
      await using site = await openSite()
      await putFailures(site)
      const dry = await site.json(['retry', ...flags.split(' '), '--dry-run'])
      assert.deepEqual(
        dry.items.map((item: Item) => item.taskId),
        expected,
      )
      assert.deepEqual(sentIds(await site.json(['retry', ...flags.split(' '), '--yes'])), expected)
    })
  }

  it('sends nothing when more than --max are selected', async () => {
    await using site = await openSite()
    await putFailures(site)
    const { stdout, stderr, code } = await site.run(['retry', '--task', '*', '--max', '2', '--yes'])
    assert.deepEqual(
      [stdout, stderr, code],
      ['', 'taskledger: more than 2 tasks are selected\n  narrow the selection, or raise --max\n', 2],
    )
    assert.equal(await rows(site), 6)
    assert.equal((await site.json(['retry', '--task', '*', '--max', '3', '--yes'])).sent, 3)
  })

  it('lists with --dry-run what it would send, and sends nothing', async () => {
    await using site = await openSite()
    await putFailures(site)
    await site.put(Date.now() - HOUR, { task_id: 'evil', task: '\u001b[31mevil', ...FAILED })
    assert.deepEqual(await site.run(['retry', '--since', '150m', '--error-type', 'SmtpError', '--dry-run']), {
      stdout: '  evil  FAILURE  \\u001b[31mevil\n',
      stderr: 'Would retry 1 of 1 task.\n',
      code: 0,
    })
    assert.equal(await rows(site), 7)
  })

  it('tells with --dry-run what it would refuse, as a real run does', async () => {
    await using site = await openSite()
    await putFailures(site)
    await site.put(Date.now() - HOUR, { task_id: 'redacted', ...FAILED, options: '{"redacted":["kwargs.token"]}' })
    await site.put(Date.now() - HOUR, { task_id: 'unpublished', published_at: null })
    const queued = (await site.run(['call', 'nothing', '--queue', 'nobody'])).stdout.trim()
    await site.run(['retry', 'b'])
    const ids = ['a', 'b', 'done', 'redacted', 'unpublished', queued]
    const before = await rows(site)
    for (const force of [[], ['--force']]) {
      const document = async (...flags: string[]) => JSON.parse((await site.run(['retry', ...ids, ...force, ...flags, '--json'])).stdout)
      const dry = await document('--dry-run')
      assert.deepEqual([dry.requested, dry.sent, dry.dryRun, await rows(site)], [6, 0, true, before])
      const real: Item[] = (await document()).items
      assert.deepEqual(
        dry.items,
        real.map((item) => ({ ...item, newTaskId: null })),
      )
      assert.equal(dry.failed, force.length === 0 ? 5 : 2)
      for (const { newTaskId } of real) if (newTaskId) await site.database.run('DELETE FROM task_result WHERE task_id = ?', [newTaskId])
    }
    const { stdout, stderr, code } = await site.run(['retry', 'a', 'done', '--dry-run'])
    const refused = 'taskledger: warning: done (mail.send) would not be sent: it ended SUCCESS; --force sends it again\n'
    assert.deepEqual([stdout, stderr, code], ['  a  FAILURE  mail.send\n', `${refused}Would retry 1 of 2 tasks.\n`, 0])
  })

  it('without a terminal needs --yes: exit 2, what is meant on stderr, and nothing sent', async () => {
    await using site = await openSite()
    await putFailures(site)
    const { stdout, stderr, code } = await site.run(['retry', '--task', 'mail.*'], { input: 'y\n' })
    assert.equal(
      stderr,
      '  a  FAILURE  mail.send\n  b  FAILURE  mail.receive\ntaskledger: this needs a yes, and there is no terminal to ask on\n  give --yes to go ahead, or --dry-run to look first\n',
    )
    assert.deepEqual([stdout, code, await rows(site)], ['', 2, 6])
  })

  it('asks on a terminal, and takes anything but yes for a no', async function () {
    if (withoutTerminal() !== null) this.skip()
    await using site = await openSite()
    await putFailures(site)
    const no = await site.terminal(['retry', '--task', 'mail.*'], { input: 'no\n' })
    assert.match(no.stdout, /a {2}FAILURE {2}mail\.send\n.*Send 2 tasks again\? \[y\/N\]/s)
    assert.deepEqual([no.code, await rows(site)], [1, 6])
    const yes = await site.terminal(['retry', '--task', 'mail.*'], { input: 'yes\n' })
    assert.match(yes.stdout, /Retried 2 of 2 tasks\./)
    assert.deepEqual([yes.code, await rows(site)], [0, 8])
  })

  it('needs to be one: neither nothing, nor ids and flags, nor flags that do not belong together', async () => {
    await using site = await openSite()
    await putFailures(site)
    const refused = async (...flags: string[]) => {
      const { stdout, stderr, code } = await site.run(['retry', ...flags, '--yes'])
      assert.deepEqual([stdout, code], ['', 2])
      return stderr.split('\n')[0]
    }
    assert.equal(await refused(), 'taskledger: expected either ids or flags that select tasks, got neither')
    assert.equal(await refused('a', '--status', 'FAILURE'), 'taskledger: expected either ids or flags that select tasks, got both')
    assert.equal(await refused('a', '--hours', '1'), 'taskledger: expected either ids or flags that select tasks, got both')
    assert.equal(await refused('--from-stale', '--error-type', 'X'), 'taskledger: --error-type cannot be given with --from-stale')
    assert.equal(await refused('--reason', 'lost', '--task', '*'), 'taskledger: --reason needs --from-stale')
    assert.equal(await rows(site), 6)
  })
})

describe('the copy that retry sends', () => {
  it('goes to --to-queue with --priority', async () => {
    await using site = await openSite()
    await putFailures(site)
    const { items } = await site.json(['retry', 'a', '--to-queue', 'other', '--priority', '9'])
    const { queue, routing_key, priority } = await storedRow(site.database, items[0].newTaskId)
    assert.deepEqual([queue, routing_key, priority], ['other', 'other', 9])
  })

  it('waits for --eta, a time or how long from now', async () => {
    await using site = await openSite()
    await putFailures(site)
    const { items } = await site.json(['retry', 'a', '--eta', '2036-01-02T03:04Z'])
    const first = await storedRow(site.database, items[0].newTaskId)
    assert.deepEqual([first.status, first.eta], ['SCHEDULED', Date.UTC(2036, 0, 2, 3, 4)])
    const before = Date.now()
    const later = await site.json(['retry', 'b', '--eta', '10m'])
    const { eta } = await storedRow(site.database, later.items[0].newTaskId)
    assert.ok(eta !== null && eta >= before + 10 * MINUTE && eta <= Date.now() + 10 * MINUTE)
  })

  it('has a deadline that is renewed at its length when it has passed', async () => {
    await using site = await openSite()
    const at = Date.now() - HOUR
    await site.put(at, { task_id: 'x', ...FAILED, expires: at + 30 * SECOND })
    const { items } = await site.json(['retry', 'x'])
    const { expires, submitted_at } = await storedRow(site.database, items[0].newTaskId)
    assert.equal((expires ?? 0) - submitted_at, 30 * SECOND)
  })

  it('is one of at most --rate a second', async () => {
    await using site = await openSite()
    await putFailures(site)
    const { items } = await site.json(['retry', 'a', 'b', 'c', '--rate', '5'])
    const sent = await Promise.all(items.map(async (item: Item) => (await storedRow(site.database, item.newTaskId ?? '')).submitted_at))
    assert.ok(sent[1] - sent[0] >= 150 && sent[2] - sent[0] >= 390, sent.join())
  })
})

describe('a row that retry refuses', () => {
  const refusals: readonly (readonly [what: string, columns: object, why: string, forced: boolean])[] = [
    ['ended well', { status: 'SUCCESS' }, 'it ended SUCCESS; --force sends it again', true],
    [
      'is running',
      { status: 'STARTED', worker_id: 'w1', lease_until: Date.now() + 24 * HOUR },
      'worker w1 is running it; --force sends a second one',
      true,
    ],
    [
      'was never published',
      { published_at: null },
      'it was never published; a sender publishes it itself (taskledger send-scheduled)',
      false,
    ],
    [
      'waits for its eta',
      { status: 'SCHEDULED', eta: Date.UTC(2036, 0) },
      'it waits for 2036-01-01T00:00:00.000Z; a sender sends it then (taskledger send-scheduled)',
      false,
    ],
    ['is redacted', { ...FAILED, options: '{"redacted":["kwargs.token"]}' }, 'its arguments are redacted (kwargs.token)', false],
    ['has lost its arguments', { ...FAILED, args: 'null' }, 'its args are missing or not a JSON array', false],
  ]
  for (const [what, columns, why, forced] of refusals) {
    it(`because it ${what} is told on stderr with exit 1; --force ${forced ? 'sends it' : 'does not help'}`, async () => {
      await using site = await openSite()
      await site.put(Date.now() - HOUR, { task_id: 'x', ...columns })
      const refused = {
        stdout: '',
        stderr: `taskledger: warning: x (mail.send) was not sent: ${why}\nRetried 0 of 1 task.\n`,
        code: 1,
      }
      assert.deepEqual(await site.run(['retry', 'x']), refused)
      assert.equal(await rows(site), 1)

      const force = await site.run(['retry', 'x', '--force'])
      assert.deepEqual([force.code, await rows(site)], forced ? [0, 2] : [1, 1])
    })
  }

  it('because its message is still queued, or it was sent again before, names which', async () => {
    await using site = await openSite()
    const queued = (await site.run(['call', 'nothing', '--queue', 'nobody'])).stdout.trim()
    assert.match((await site.run(['retry', queued])).stderr, /its message is still in the queue nobody: a worker of that queue will run it/)

    await site.put(Date.now() - HOUR, { task_id: 'x', ...FAILED })
    const [first] = (await site.json(['retry', 'x'])).items
    const again = await site.run(['retry', 'x'])
    assert.equal(again.code, 1)
    assert.ok(again.stderr.includes(`it was sent again before, as ${first.newTaskId}; --force sends another`))
    assert.equal((await site.run(['retry', 'x', '--force'])).code, 0)
    assert.equal((await copiesOf(site, 'x')).length, 2)
  })

  it('does not keep the others from being sent, unless --fail-fast', async () => {
    await using site = await openSite()
    await putFailures(site)
    const { stdout } = await site.run(['retry', 'a', 'done', 'b', '--fail-fast', '--json'])
    const { requested, sent, failed, items } = JSON.parse(stdout)
    assert.deepEqual([requested, sent, failed, items.length], [3, 1, 1, 2])
    assert.deepEqual(await copiesOf(site, 'b'), [])

    const all = await site.run(['retry', 'done', 'b'])
    assert.match(all.stderr, /done \(mail\.send\) was not sent: .*\nRetried 1 of 2 tasks\.\n$/)
    assert.deepEqual([all.code, (await copiesOf(site, 'b')).length], [1, 1])
  })

  it('is told with its reason in the document', async () => {
    await using site = await openSite()
    await putFailures(site)
    const { stdout, code } = await site.run(['retry', 'done', '--json'])
    assert.deepEqual(
      [JSON.parse(stdout), code],
      [
        {
          version: 1,
          kind: 'retry',
          dryRun: false,
          requested: 1,
          sent: 0,
          failed: 1,
          items: [{ taskId: 'done', task: 'mail.send', newTaskId: null, error: 'it ended SUCCESS; --force sends it again' }],
        },
        1,
      ],
    )
  })
})
