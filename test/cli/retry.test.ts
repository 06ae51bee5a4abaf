import assert from 'node:assert/strict'
import { itOnSqlBroker } from '../helpers/databases.js'
import { storedRow } from '../helpers/rows.js'
import { HOUR, MINUTE, openSite, SECOND } from '../helpers/site.js'
import { copiesOf, FAILED, type Item, putFailures, rows, sentIds } from './failures.js'

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

  // RabbitMQ does not say whether it has a message
  itOnSqlBroker('because its message is still queued names the queue', async () => {
    await using site = await openSite()
    const queued = (await site.run(['call', 'nothing', '--queue', 'nobody'])).stdout.trim()
    assert.match((await site.run(['retry', queued])).stderr, /its message is still in the queue nobody: a worker of that queue will run it/)
  })

  it('because it was sent again before names the copy', async () => {
    await using site = await openSite()
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
