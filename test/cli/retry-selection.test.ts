import assert from 'node:assert/strict'
import { itOnSqlBroker } from '../helpers/databases.js'
import { HOUR, openSite, withoutTerminal } from '../helpers/site.js'
import { FAILED, type Item, putFailures, rows, sentIds } from './failures.js'

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

  itOnSqlBroker('tells with --dry-run what it would refuse, as a real run does', async () => {
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
