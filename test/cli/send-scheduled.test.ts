import assert from 'node:assert/strict'
import { classicInstant } from '../../src/lib/cli/time.js'
import { storedRow } from '../helpers/rows.js'
import { run } from '../helpers/run.js'
import { HOUR, MINUTE, openSite, type Site } from '../helpers/site.js'

const putDue = (site: Site, id: string, eta: number, columns: object = {}) =>
  site.put(eta - HOUR, { task_id: id, status: 'SCHEDULED', eta, ...columns })

/** Every row as it is stored, for seeing that none has changed. */
const everything = (site: Site) => site.database.all('SELECT * FROM task_result ORDER BY id', [])

describe('send-scheduled', () => {
  it('is silent when nothing is due', async () => {
    await using site = await openSite()
    await putDue(site, 'later', Date.now() + HOUR)
    assert.deepEqual(await site.run(['send-scheduled']), { stdout: '', stderr: '', code: 0 })
    const env = { TASKLEDGER_DATABASE: site.url }
    assert.deepEqual(await run('send-scheduled', ['--quiet'], { cwd: site.folder, env }), { stdout: '', stderr: '', code: 0 })
  })

  it('sends what is due, in the order of the etas, and names the task that was sent for each', async () => {
    await using site = await openSite()
    const now = Date.now()
    await putDue(site, 'second', now - HOUR)
    await putDue(site, 'first', now - 2 * HOUR, { task: 'mail.\u001bfirst' })
    await putDue(site, 'later', now + HOUR)
    const { stdout, stderr, code } = await site.run(['send-scheduled'])
    const [first, second] = [await storedRow(site.database, 'first'), await storedRow(site.database, 'second')]
    assert.equal(stdout, `  first → ${first.scheduled_id}  mail.\\u001bfirst\n  second → ${second.scheduled_id}  mail.send\n`)
    assert.deepEqual([stderr, code], ['Sent 2 of 2 due tasks (0 expired, 0 failed).\n', 0])
    assert.deepEqual([first.status, first.result], ['SCHEDULED_SENT', `{"new_task_id":"${first.scheduled_id}"}`])
    const sent = await storedRow(site.database, first.scheduled_id ?? '')
    assert.deepEqual([sent.status, sent.eta, sent.task, sent.args], ['PENDING', null, 'mail.\u001bfirst', first.args])
    assert.equal((await storedRow(site.database, 'later')).status, 'SCHEDULED')
  })

  it('prints one whole document with --json', async () => {
    await using site = await openSite()
    const eta = Date.now() - HOUR
    await putDue(site, 'due', eta)
    await putDue(site, 'expired', eta + MINUTE, { expires: eta + 2 * MINUTE })
    const document = await site.json(['send-scheduled'])
    const item = { task: 'mail.send', error: null }
    const newTaskId = (await storedRow(site.database, 'due')).scheduled_id
    assert.deepEqual(document, {
      version: 1,
      kind: 'send-scheduled',
      dryRun: false,
      sent: 1,
      expired: 1,
      failed: 0,
      items: [
        { ...item, taskId: 'due', newTaskId, eta: new Date(eta).toISOString(), outcome: 'sent' },
        { ...item, taskId: 'expired', newTaskId: null, eta: new Date(eta + MINUTE).toISOString(), outcome: 'expired' },
      ],
    })
    assert.equal((await storedRow(site.database, 'expired')).status, 'REVOKED')
  })

  it('sends the others when one row cannot be sent, tells which, and exits 1', async () => {
    await using site = await openSite()
    const eta = Date.now() - HOUR
    for (let i = 0; i < 9; i++) await putDue(site, `good-${i}`, eta + i)
    await putDue(site, 'corrupt', eta + 4, { args: '{"not": "a list"' })
    const { stdout, stderr, code } = await site.run(['send-scheduled'])
    assert.equal(stdout.match(/^ {2}good-\d → /gm)?.length, 9)
    assert.equal(
      stderr,
      'taskledger: warning: corrupt (mail.send) was not sent: its args are missing or not a JSON array\nSent 9 of 10 due tasks (0 expired, 1 failed).\n',
    )
    assert.equal(code, 1)
    const row = await storedRow(site.database, 'corrupt')
    assert.deepEqual(
      [row.status, row.scheduled_id, row.error_type, row.error_message],
      ['SCHEDULED', null, 'UnsendableRowError', 'its args are missing or not a JSON array'],
    )
    const again = await site.run(['send-scheduled', '--json'])
    const { items, failed } = JSON.parse(again.stdout)
    assert.equal(again.code, 1)
    assert.deepEqual([failed, items.length, items[0].error], [1, 1, 'its args are missing or not a JSON array'])
  })

  it('sends at most --limit', async () => {
    await using site = await openSite()
    for (const hours of [3, 2, 1]) await putDue(site, `${hours}h`, Date.now() - hours * HOUR)
    const sent = async () => (await site.json(['send-scheduled', '--limit', '2'])).items.map((item: { taskId: string }) => item.taskId)
    assert.deepEqual(await sent(), ['3h', '2h'])
    assert.deepEqual(await sent(), ['1h'])
    assert.deepEqual(await sent(), [])
  })

  it('sends a retry that is due under its own id, and a task that no broker took', async () => {
    await using site = await openSite()
    const at = Date.now() - HOUR
    await site.put(at, { task_id: 'again', status: 'RETRY', published_at: null, eta: at + MINUTE, retries: 1 })
    await site.put(at, { task_id: 'never-published', published_at: null })
    const { items } = await site.json(['send-scheduled'])
    assert.deepEqual(
      items.map((item: { taskId: string; newTaskId: string }) => [item.taskId, item.newTaskId]),
      [
        ['again', 'again'],
        ['never-published', 'never-published'],
      ],
    )
  })

  it('lists with --dry-run what it would send, and changes nothing', async () => {
    await using site = await openSite()
    const now = Date.now()
    await putDue(site, 'due', now - HOUR)
    await putDue(site, 'later', now + HOUR)
    await putDue(site, 'claimed-by-a-dead-sender', now - 2 * HOUR, { scheduled_id: 'x', claimed_at: now - HOUR })
    await putDue(site, 'claimed-just-now', now - 2 * HOUR, { scheduled_id: 'y', claimed_at: now })
    await site.put(now - HOUR, { task_id: 'never-published', published_at: null })
    await site.put(now, { task_id: 'being-published', published_at: null })
    await site.put(now - HOUR, { task_id: 'again', status: 'RETRY', published_at: null, eta: now - MINUTE })
    const before = await everything(site)

    const line = (hours: number, id: string) => `  ${classicInstant(new Date(now - hours * HOUR))} - ${id}: mail.send\n`
    assert.deepEqual(await site.run(['send-scheduled', '--dry-run']), {
      stdout: `${line(2, 'claimed-by-a-dead-sender')}${line(1, 'due')}${line(1 / 60, 'again')}${line(1, 'never-published')}`,
      stderr: '4 due.\n',
      code: 0,
    })
    const { due } = await site.json(['send-scheduled', '--dry-run', '--limit', '2'])
    assert.deepEqual(
      due.map((item: { taskId: string }) => item.taskId),
      ['claimed-by-a-dead-sender', 'due'],
    )
    assert.deepEqual(await everything(site), before)

    const { items } = await site.json(['send-scheduled'])
    assert.deepEqual(
      items.map((item: { taskId: string }) => item.taskId),
      ['claimed-by-a-dead-sender', 'due', 'again', 'never-published'],
    )
  })

  it('takes up with --resume what a dead sender left, at once or at the age given, under the ids it has', async () => {
    await using site = await openSite()
    const now = Date.now()
    await putDue(site, 'claimed', now - HOUR, { scheduled_id: 'chosen', claimed_at: now - 10_000 })
    await site.put(now - 10_000, { task_id: 'unconfirmed', published_at: null })
    const idsSent = async (...argv: string[]) =>
      (await site.json(['send-scheduled', ...argv])).items.map(({ newTaskId }: { newTaskId: string }) => newTaskId)
    assert.deepEqual(await idsSent(), [])
    assert.deepEqual(await idsSent('--resume', '--minutes', '10'), [])
    const { due } = await site.json(['send-scheduled', '--resume', '--dry-run'])
    assert.deepEqual(
      due.map(({ taskId }: { taskId: string }) => taskId),
      ['claimed', 'unconfirmed'],
    )
    assert.deepEqual(await idsSent('--resume', '--seconds', '1'), ['chosen', 'unconfirmed'])
    assert.deepEqual(await idsSent('--resume'), [])
  })

  it('refuses an age without --resume', async () => {
    await using site = await openSite()
    const { stderr, code } = await site.run(['send-scheduled', '--minutes', '5'])
    assert.match(stderr, /an age was given without --resume/)
    assert.equal(code, 2)
  })
})
