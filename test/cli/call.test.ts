import assert from 'node:assert/strict'
import { storedRow } from '../helpers/rows.js'
import { HOUR, MINUTE, openSite } from '../helpers/site.js'

const APP = 'test/fixtures/app.mjs'

describe('call', () => {
  it('publishes a task that this program does not know, and prints its id', async () => {
    await using site = await openSite()
    const { stdout, stderr, code } = await site.run(['call', 'mail.send', '--args', '[1, "two"]'])
    assert.match(stdout, /^[0-9a-f-]{36}\n$/)
    assert.deepEqual([stderr, code], ['', 0])
    const { task, args, kwargs, status, queue } = await storedRow(site.database, stdout.trim())
    assert.deepEqual(
      { task, args, kwargs, status, queue },
      { task: 'mail.send', args: '[1,"two"]', kwargs: '{}', status: 'PENDING', queue: 'default' },
    )
    assert.equal((await site.broker.receive(['default'], 1, HOUR)).length, 1)
  })

  it('publishes with everything its flags say', async () => {
    await using site = await openSite()
    const flags = '--args [1] --kwargs {"a":2} --queue mail --priority 9 --expires 2h --header a=1 --header b=x=y --id my-id'
    const before = Date.now()
    assert.equal((await site.run(['call', 'add', ...flags.split(' ')])).stdout, 'my-id\n')
    const row = await storedRow(site.database, 'my-id')
    const { args, kwargs, queue, priority, expires, options } = row
    assert.deepEqual({ args, kwargs, queue, priority }, { args: '[1]', kwargs: '{"a":2}', queue: 'mail', priority: 9 })
    assert.deepEqual(JSON.parse(options), { headers: { a: '1', b: 'x=y' } })
    assert.ok(expires !== null && expires >= before + 2 * HOUR && expires <= Date.now() + 2 * HOUR)
  })

  it('leaves no record of a task whose result is ignored', async () => {
    await using site = await openSite()
    const { stdout } = await site.run(['call', 'add', '--ignore-result'])
    const [delivery] = await site.broker.receive(['default'], 1, HOUR)
    assert.deepEqual([delivery?.message.id, delivery?.message.options], [stdout.trim(), { ignoreResult: true }])
    assert.equal(await site.app.tasks.count(), 0)
  })

  it('schedules a task with --countdown or --eta', async () => {
    await using site = await openSite()
    const before = Date.now()
    await site.run(['call', 'add', '--id', 'in-ten-minutes', '--countdown', '10m'])
    const { status, eta } = await storedRow(site.database, 'in-ten-minutes')
    assert.equal(status, 'SCHEDULED')
    assert.ok(eta !== null && eta >= before + 10 * MINUTE && eta <= Date.now() + 10 * MINUTE)
    const document = await site.json(['call', 'add', '--id', 'then', '--eta', '2036-01-02T03:04Z'])
    assert.deepEqual(document, { version: 1, kind: 'call', taskId: 'then', task: 'add', status: 'SCHEDULED' })
    assert.equal((await storedRow(site.database, 'then')).eta, Date.UTC(2036, 0, 2, 3, 4))
  })

  it('refuses a second task of one id', async () => {
    await using site = await openSite()
    await site.run(['call', 'add', '--id', 'mine'])
    const { stdout, stderr, code } = await site.run(['call', 'other', '--id', 'mine'])
    assert.match(stderr, /^taskledger: .*mine.*\n$/)
    assert.deepEqual([stdout, code, (await storedRow(site.database, 'mine')).task], ['', 2, 'add'])
  })

  const wrong: readonly (readonly [what: string, flags: readonly string[], message: string])[] = [
    ['text that is no JSON', ['--args', '[1, '], '--args: expected JSON, got: [1, \n  for example --args \'[1, "two"]\''],
    ['arguments that are no array', ['--args', '{}'], '--args: expected a JSON array, got: {}'],
    ['named arguments that are no object', ['--kwargs', '[]'], '--kwargs: expected a JSON object, got: []'],
    ['a header without a value', ['--header', 'trace'], '--header: expected name=value, got: trace'],
    [
      'a time that is none',
      ['--eta', 'tomorrow'],
      '--eta: expected a time like 2026-11-20T14:17Z or how long from now, like 10m, got: tomorrow\n  See more help with --help',
    ],
    ['a time and a delay', ['--eta', '10m', '--countdown', '10m'], '--eta cannot be given with --countdown\n  See more help with --help'],
    [
      'a priority out of range',
      ['--priority', '256'],
      '--priority: Expected an integer less than or equal to 255 but received: 256\n  See more help with --help',
    ],
  ]
  for (const [what, flags, message] of wrong) {
    it(`refuses ${what}, and publishes nothing`, async () => {
      await using site = await openSite()
      assert.deepEqual(await site.run(['call', 'add', ...flags]), { stdout: '', stderr: `taskledger: ${message}\n`, code: 2 })
      assert.equal(await site.app.tasks.count(), 0)
    })
  }
})

describe('call --wait', () => {
  it('prints the result once a worker has it, and the id as talk', async () => {
    await using site = await openSite()
    const worker = site.start('worker', '--app', APP)
    await site.run(['call', 'note_early', '--args', JSON.stringify([`${site.folder}/side`]), '--id', 'one', '--wait', '10s'])
    assert.deepEqual(
      await site.run(['call', 'note_early', '--args', JSON.stringify([`${site.folder}/side`]), '--id', 'two', '--wait', '10s']),
      {
        stdout: 'null\n',
        stderr: 'two\n',
        code: 0,
      },
    )
    const third = ['call', 'note_early', '--args', JSON.stringify([`${site.folder}/side`]), '--id', 'three', '--wait', '10s']
    assert.deepEqual(await site.json(third), {
      version: 1,
      kind: 'call',
      taskId: 'three',
      task: 'note_early',
      status: 'SUCCESS',
      result: null,
    })
    await worker.kill()
  })

  it('tells of a task that failed, and exits 1', async () => {
    await using site = await openSite()
    site.start('worker', '--app', APP)
    const { stdout, stderr, code } = await site.run(['call', 'unheard-of', '--id', 'x', '--wait', '10s'])
    assert.match(
      stderr,
      /^x\ntaskledger: the task failed: NotRegistered: no task named 'unheard-of' is registered;.*\n {2}taskledger show x tells more\n$/,
    )
    assert.deepEqual([stdout, code], ['', 1])
  })

  it('gives up after the time given, and exits 1; the task goes on', async () => {
    await using site = await openSite()
    assert.deepEqual(await site.run(['call', 'add', '--id', 'x', '--wait', '50ms']), {
      stdout: '',
      stderr: 'x\ntaskledger: the task has not ended within 50ms\n  taskledger show x tells more\n',
      code: 1,
    })
    assert.equal((await storedRow(site.database, 'x')).status, 'PENDING')
  })
})
