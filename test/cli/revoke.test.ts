import assert from 'node:assert/strict'
import { chain, group } from '../../src/lib/app/canvas.js'
import { newTaskId } from '../../src/lib/task/id.js'
import { openSite } from '../helpers/site.js'
import { declareSums } from '../helpers/sums.js'
import { until } from '../helpers/until.js'
import { OPEN, putOneOfEach, status, statuses } from './one-of-each.js'

describe('revoke of tasks by their ids', () => {
  it('makes REVOKED what has not started, and says what', async () => {
    await using site = await openSite()
    await putOneOfEach(site)
    const { stdout, stderr, code } = await site.run(['revoke', ...OPEN])
    assert.equal(stdout, '  queued  mail.send\n  scheduled  mail.send\n  retrying  audit\n')
    assert.deepEqual([stderr, code], ['Revoked 3 of 3.\n', 0])
    assert.deepEqual(await statuses(site, [...OPEN, 'running', 'done']), ['REVOKED', 'REVOKED', 'REVOKED', 'STARTED', 'SUCCESS'])
  })

  it('leaves alone what runs or has ended, says why, and exits 1', async () => {
    await using site = await openSite()
    await putOneOfEach(site)
    const { stdout, stderr, code } = await site.run(['revoke', 'queued', 'running', 'done'])
    assert.deepEqual([stdout, code], ['  queued  mail.send\n', 1])
    assert.match(stderr, /running \(mail\.send\) was not revoked: worker w is running it; --terminate stops it/)
    assert.match(stderr, /done \(mail\.send\) was not revoked: it has ended SUCCESS/)
    assert.match(stderr, /\nRevoked 1 of 3\.\n$/)
    assert.deepEqual(await statuses(site, ['queued', 'running', 'done']), ['REVOKED', 'STARTED', 'SUCCESS'])
  })

  it('exits 0 with --ignore-finished', async () => {
    await using site = await openSite()
    await putOneOfEach(site)
    assert.equal((await site.run(['revoke', 'queued', 'done', '--ignore-finished'])).code, 0)
  })

  it('takes what runs with --terminate', async () => {
    await using site = await openSite()
    await putOneOfEach(site)
    const { stdout, stderr, code } = await site.run(['revoke', 'running', '--terminate'])
    assert.deepEqual([stdout, stderr, code], ['  running  mail.send\n', 'Revoked 1 of 1.\n', 0])
    assert.deepEqual([await status(site, 'running'), (await site.app.tasks.get('running'))?.errorMessage], ['REVOKED', 'terminated'])
  })

  it('takes the unique beginning of an id, and ids from stdin for -', async () => {
    await using site = await openSite()
    for (const id of ['0197b2c1-6b0e', '0197b2c1-7000']) await site.put(Date.now(), { task_id: id })
    const { stderr, code } = await site.run(['revoke', '-'], { input: '0197b2c1-6\n0197b2c1-7000\n' })
    assert.deepEqual([stderr, code], ['Revoked 2 of 2.\n', 0])
  })

  it('of an id that no task has is exit 2, and revokes nothing', async () => {
    await using site = await openSite()
    await putOneOfEach(site)
    const { stderr, code } = await site.run(['revoke', 'queued', 'nobody'])
    assert.deepEqual([stderr, code], ['taskledger: there is no task with the id nobody\n  taskledger list shows the newest\n', 2])
    assert.equal(await status(site, 'queued'), 'PENDING')
  })

  it('takes the id of a later step of a workflow, which has no row yet: all of it ends', async () => {
    await using site = await openSite()
    const { add, tsum } = declareSums(site.app)
    const sums = chain(add.s(1, 1), group(add.s(1), chain(add.s(2), add.s(3))), tsum.s(), add.s(1))
    const [first, second, untouched] = [await sums.applyAsync(), await sums.applyAsync(), await sums.applyAsync()]
    const step = second.parent?.id ?? ''
    const dry = await site.run(['revoke', first.id, '--dry-run'])
    assert.deepEqual([dry.stdout, dry.code], [`  ${first.id}\n`, 0])
    const { stdout, stderr, code } = await site.run(['revoke', first.id, step])
    assert.deepEqual([stdout, stderr, code], [`  ${first.id}  add\n  ${step}  tsum\n`, 'Revoked 2 of 2.\n', 0])
    assert.deepEqual([await first.state(), await second.state()], ['REVOKED', 'REVOKED'])
    assert.deepEqual(
      (await site.app.tasks.list({ open: true })).map(({ taskId }) => taskId),
      [untouched.lineage()[0]?.id],
    )
    const unknown = await site.run(['revoke', newTaskId()])
    assert.match(unknown.stderr, /^taskledger: there is no task with the id /)
    assert.equal(unknown.code, 2)
  })

  it('changes nothing with --dry-run', async () => {
    await using site = await openSite()
    await putOneOfEach(site)
    const { stdout, stderr, code } = await site.run(['revoke', ...OPEN, '--dry-run'])
    assert.deepEqual([stdout, stderr, code], [OPEN.map((id) => `  ${id}\n`).join(''), 'Would revoke 3.\n', 0])
    assert.deepEqual(await statuses(site, OPEN), ['PENDING', 'SCHEDULED', 'RETRY'])
  })

  it('prints one whole document with --json', async () => {
    await using site = await openSite()
    await putOneOfEach(site)
    assert.deepEqual(await site.json(['revoke', 'queued', 'retrying']), {
      version: 1,
      kind: 'revoke',
      dryRun: false,
      revoked: 2,
      items: [
        { taskId: 'queued', task: 'mail.send', revoked: true, error: null },
        { taskId: 'retrying', task: 'audit', revoked: true, error: null },
      ],
    })
  })
})

describe('revoke of a task that a worker process', () => {
  it('runs stops it with --terminate', async () => {
    await using site = await openSite()
    const worker = site.start('worker', '--app', 'test/fixtures/pool-app.mjs', '--pool', 'processes', '-c', '1')
    const result = await site.app.sendTask('busy')
    await until(async () => (await result.state()) === 'STARTED', 'the task to start')
    assert.equal((await site.run(['revoke', result.id])).code, 1)
    assert.equal((await site.run(['revoke', result.id, '--terminate'])).code, 0)
    assert.equal(typeof (await (await site.app.sendTask('pid')).get({ timeout: 15 })), 'number')
    assert.equal(await result.state(), 'REVOKED')
    await worker.said('revoked: terminated')
  })
})
