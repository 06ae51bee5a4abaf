import assert from 'node:assert/strict'
import { classicInstant } from '../../src/lib/cli/time.js'
import { HOUR, openSite, type Site, withoutTerminal } from '../helpers/site.js'

/** Four tasks, the oldest first. */
async function putFour(site: Site, now: number): Promise<void> {
  await site.put(now - 4 * HOUR, { task_id: 'a', task: 'mail.send', status: 'SUCCESS' })
  await site.put(now - 3 * HOUR, { task_id: 'b', task: 'mail.receive', queue: 'slow' })
  await site.put(now - 2 * HOUR, { task_id: 'c', task: 'audit', status: 'FAILURE', error_type: 'TypeError', error_message: 'x\u001b[2Jy' })
  await site.put(now - 1 * HOUR, { task_id: 'd', task: '\u001b[31mevil', status: 'BOILING' })
}

describe('list', () => {
  it('prints the newest tasks first, a line each', async () => {
    await using site = await openSite()
    const now = Date.now()
    await putFour(site, now)
    const line = (hours: number, rest: string) => `  ${classicInstant(new Date(now - hours * HOUR))} - ${rest}\n`
    assert.deepEqual(await site.run(['list']), {
      stdout:
        line(1, 'd: \\u001b[31mevil BOILING') +
        line(2, 'c: audit FAILURE') +
        line(3, 'b: mail.receive PENDING') +
        line(4, 'a: mail.send SUCCESS'),
      stderr: '',
      code: 0,
    })
  })

  it('prints nothing on stdout when there is none', async () => {
    await using site = await openSite()
    assert.deepEqual(await site.run(['list']), { stdout: '', stderr: 'No tasks.\n', code: 0 })
    assert.deepEqual(await site.run(['list', '--check', '-q']), { stdout: '', stderr: '', code: 1 })
  })

  const selections: readonly (readonly [flags: string, ids: string])[] = [
    ['--task mail.*', 'ba'],
    ['--task mail.* --task audit', 'cba'],
    ['--task mail.send', 'a'],
    ['--status SUCCESS --status BOILING', 'da'],
    ['--queue slow', 'b'],
    ['--error-type TypeError', 'c'],
    ['--since 150m', 'dc'],
    ['--until 150m', 'ba'],
    ['--hours 3', 'ba'],
    ['--since 1d --until 210m --status SUCCESS', 'a'],
    ['--since 1970-01-01 --until 1970-01-02T00:00Z', ''],
  ]
  for (const [flags, ids] of selections) {
    it(`with ${flags} prints ${ids.length} of four`, async () => {
      await using site = await openSite()
      await putFour(site, Date.now())
      const { stdout } = await site.run(['list', '--format', 'ids', ...flags.split(' ')])
      assert.equal(stdout.replaceAll('\n', ''), ids)
      assert.equal((await site.run(['list', '--count', ...flags.split(' ')])).stdout, `${ids.length}\n`)
    })
  }

  it('prints one document with --json: whole rows, and where the next page begins', async () => {
    await using site = await openSite()
    await putFour(site, Date.now())
    const page = await site.json(['list', '--limit', '3'])
    const { version, kind, count, next } = page
    assert.deepEqual({ version, kind, count, next }, { version: 1, kind: 'tasks', count: 3, next: page.tasks[2].id })
    const rows = await site.app.tasks.list({}, 3)
    assert.deepEqual(page.tasks, JSON.parse(JSON.stringify(rows)))

    const last = await site.json(['list', '--limit', '3', '--before', String(next)])
    assert.deepEqual([last.count, last.next, last.tasks[0].taskId], [1, null, 'a'])
  })

  it('pages without leaving a row out or showing one twice, while rows are added', async () => {
    await using site = await openSite()
    await putFour(site, Date.now())
    const first = await site.json(['list', '--limit', '2'])
    await site.put(Date.now(), { task_id: 'e' })
    const second = await site.json(['list', '--limit', '2', '--before', String(first.next)])
    const ids = [...first.tasks, ...second.tasks].map((row: { taskId: string }) => row.taskId)
    assert.deepEqual(ids, ['d', 'c', 'b', 'a'])
  })

  it('counts with --count', async () => {
    await using site = await openSite()
    await putFour(site, Date.now())
    assert.deepEqual(await site.json(['list', '--count']), { version: 1, kind: 'task-count', count: 4, capped: false })
    const { stdout, code } = await site.run(['list', '--count', '--status', 'REVOKED', '--check'])
    assert.deepEqual([stdout, code], ['0\n', 1])
  })

  it('is a table on a terminal, and says how to go on', async function () {
    if (withoutTerminal() !== null) this.skip()
    await using site = await openSite()
    await putFour(site, Date.now())
    const { stdout } = await site.terminal(['list', '--limit', '2', '--no-color'])
    const [head, first, second, more] = stdout.split('\n')
    assert.match(head ?? '', /^Submitted +Age +Status +Queue +Task +Id +Error$/)
    assert.match(first ?? '', / 1h +BOILING +default +\\u001b\[31mevil +d$/)
    assert.match(second ?? '', / 2h +FAILURE +default +audit +c +TypeError: x\\u001b\[2Jy$/)
    assert.match(more ?? '', /^More: --before \d+$/)
  })
})
