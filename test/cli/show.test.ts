import assert from 'node:assert/strict'
import { classicInstant } from '../../src/lib/cli/time.js'
import { HOUR, openSite, type Site, withoutTerminal } from '../helpers/site.js'

const at = Date.now() - HOUR

async function putFailed(site: Site): Promise<void> {
  await site.put(at, {
    task_id: '0197b2c1-6b0e-7000',
    status: 'FAILURE',
    task: 'mail.send',
    args: '["a@b.c",{"n":1}]',
    result: null,
    error_type: 'SmtpError',
    error_message: 'no\u001b[2J route',
    traceback: 'SmtpError: no route\n    at send (mail.js:1:2)\u001b[2J',
    retries: 2,
  })
  await site.put(at, { task_id: 'copy', retry_of: '0197b2c1-6b0e-7000' })
  await site.put(at, { task_id: 'child', parent_id: '0197b2c1-6b0e-7000' })
  await site.database.run('INSERT INTO task_attempt (task_id, seq, at, kind, error_type, error_message) VALUES (?, 1, ?, ?, ?, ?)', [
    '0197b2c1-6b0e-7000',
    at,
    'retry',
    'SmtpError',
    'busy',
  ])
}

describe('show', () => {
  it('prints every field that has a value, the history, the copies, the children and the traceback', async () => {
    await using site = await openSite()
    await putFailed(site)
    const { stdout, stderr, code } = await site.run(['show', '0197b2c1'])
    const when = classicInstant(new Date(at))
    assert.deepEqual(stdout.split('\n').slice(1), [
      'taskId           0197b2c1-6b0e-7000',
      'task             mail.send',
      'args             ["a@b.c",{"n":1}]',
      'kwargs           {"subject":"hello"}',
      'status           FAILURE',
      'errorType        SmtpError',
      'errorMessage     no\\u001b[2J route',
      'queue            default',
      'routingKey       default',
      'priority         0',
      'retries          2',
      'deliveries       0',
      'rootId           0197b2c1-6b0e-7000',
      'options          {}',
      `submittedAt      ${when}`,
      `publishedAt      ${when}`,
      `updatedAt        ${when}`,
      `finishedAt       ${when}`,
      'retriedAs        copy',
      'child            child',
      `attempt          ${when} retry SmtpError: busy`,
      'traceback',
      '  SmtpError: no route',
      '      at send (mail.js:1:2)\\u001b[2J',
      '',
      '',
    ])
    assert.deepEqual([stderr, code], ['', 0])
  })

  it('prints one document with --json: the whole row and what belongs to it', async () => {
    await using site = await openSite()
    await putFailed(site)
    const { version, kind, tasks } = await site.json(['show', '0197b2c1-6b0e-7000', 'copy'])
    const [row, copy] = [await site.app.tasks.get('0197b2c1-6b0e-7000'), await site.app.tasks.get('copy')]
    const attempt = {
      seq: 1,
      at: new Date(at).toISOString(),
      kind: 'retry',
      workerId: null,
      errorType: 'SmtpError',
      errorMessage: 'busy',
      traceback: null,
    }
    assert.deepEqual(
      { version, kind, tasks },
      {
        version: 1,
        kind: 'task-histories',
        tasks: [
          { ...JSON.parse(JSON.stringify(row)), attempts: [attempt], retriedAs: ['copy'], children: ['child'], tree: null },
          { ...JSON.parse(JSON.stringify(copy)), attempts: [], retriedAs: [], children: [], tree: null },
        ],
      },
    )
  })

  it('prints one field as it is with --field', async () => {
    await using site = await openSite()
    await putFailed(site)
    const field = async (name: string) => (await site.run(['show', '0197b2c1-6b0e-7000', '--field', name])).stdout
    assert.equal(await field('traceback'), 'SmtpError: no route\n    at send (mail.js:1:2)\u001b[2J\n')
    assert.equal(await field('args'), '["a@b.c",{"n":1}]\n')
    assert.equal(await field('eta'), '\n')
    assert.equal(await field('submittedAt'), `${classicInstant(new Date(at))}\n`)
  })

  it('shows what a terminal would obey, on one', async function () {
    if (withoutTerminal() !== null) this.skip()
    await using site = await openSite()
    await putFailed(site)
    const { stdout } = await site.terminal(['show', '0197b2c1-6b0e-7000', '--field', 'traceback'])
    assert.equal(stdout, 'SmtpError: no route\n    at send (mail.js:1:2)\\u001b[2J\n')
  })

  it('of a field that does not exist names those that do', async () => {
    await using site = await openSite()
    await putFailed(site)
    const { stdout, stderr, code } = await site.run(['show', 'copy', '--field', 'colour'])
    assert.match(stderr, /^taskledger: there is no field named colour; the fields are id, taskId, .*, resultExpiresAt\n$/)
    assert.deepEqual([stdout, code], ['', 2])
  })

  it('needs an id: exit 2 for none, and for one that several tasks may have', async () => {
    await using site = await openSite()
    await putFailed(site)
    await site.put(at, { task_id: '0197b2c1-6b0f' })
    const refused = async (...ids: string[]) => {
      const { stdout, stderr, code } = await site.run(['show', ...ids])
      assert.deepEqual([stdout, code], ['', 2])
      return stderr
    }
    assert.equal(await refused(), 'taskledger: expected the id of a task, got none\n  taskledger list shows the newest\n')
    assert.equal(
      await refused('0197b2c1'),
      'taskledger: the id 0197b2c1 may be any of 0197b2c1-6b0e-7000, 0197b2c1-6b0f\n  give more of it\n',
    )
  })

  it('of an id that no task has is exit 1, and names what is near', async () => {
    await using site = await openSite()
    await putFailed(site)
    await site.put(at, { task_id: '0197b2c1-6b0f' })
    const hints: string[] = []
    for (const id of ['nobody', '0197b2c', '0197b2c1-6bOe-7000', 'cpoy']) {
      const { stdout, stderr, code } = await site.run(['show', 'copy', id])
      const [message, hint = ''] = stderr.split('\n')
      assert.deepEqual([stdout, message, code], ['', `taskledger: there is no task with the id ${id}`, 1])
      hints.push(hint.trim())
    }
    assert.deepEqual(hints, [
      'taskledger list shows the newest',
      'did you mean 0197b2c1-6b0e-7000 or 0197b2c1-6b0f?',
      'did you mean 0197b2c1-6b0e-7000?',
      'taskledger list shows the newest',
    ])
  })
})
