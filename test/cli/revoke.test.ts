import assert from 'node:assert/strict'
import { chain, group } from '../../src/lib/app/canvas.js'
import { newTaskId } from '../../src/lib/task/id.js'
import { HOUR, openSite, type Site, withoutTerminal } from '../helpers/site.js'
import { declareSums } from '../helpers/sums.js'
import { until } from '../helpers/until.js'

const status = async (site: Site, id: string) => (await site.app.tasks.get(id))?.status
const statuses = async (site: Site, ids: readonly string[]) => Promise.all(ids.map((id) => status(site, id)))

/** One task in each state that a revoke tells apart. */
async function putOneOfEach(site: Site): Promise<void> {
  const now = Date.now()
  const running = { worker_id: 'w', started_at: now - HOUR, lease_until: now + HOUR }
  await site.put(now - 5 * HOUR, { task_id: 'queued' })
  await site.put(now - 4 * HOUR, { task_id: 'scheduled', status: 'SCHEDULED', eta: now + HOUR })
  await site.put(now - 3 * HOUR, {
    task_id: 'retrying',
    status: 'RETRY',
    eta: now + HOUR,
    published_at: null,
    task: 'audit',
    queue: 'slow',
  })
  await site.put(now - 2 * HOUR, { task_id: 'running', status: 'STARTED', ...running })
  await site.put(now - 2 * HOUR, { task_id: 'uploading', status: 'UPLOADING', ...running })
  await site.put(now - HOUR, { task_id: 'done', status: 'SUCCESS' })
}

const OPEN = ['queued', 'scheduled', 'retrying']

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

describe('revoke of a selection', () => {
  const selections: readonly (readonly [what: string, flags: string, expected: readonly string[]])[] = [
    ['a glob: what has not ended, and does not run', '--task mail.*', ['queued', 'scheduled']],
    ['a queue', '--queue slow', ['retrying']],
    ['a status', '--task * --status SCHEDULED', ['scheduled']],
    ['an age', '--hours 4', ['queued', 'scheduled']],
    ['several flags, all of which must hold', '--task mail.* --hours 5', ['queued']],
    ['a glob with --terminate: also what runs', '--task mail.* --terminate', ['queued', 'scheduled', 'running', 'uploading']],
    ['a status with --terminate: no other', '--task * --status UPLOADING --terminate', ['uploading']],
  ]
  for (const [what, flags, expected] of selections) {
    it(`by ${what}`, async () => {
      await using site = await openSite()
      await putOneOfEach(site)
      const { items, revoked } = await site.json(['revoke', ...flags.split(' '), '--yes'])
      assert.deepEqual(new Set(items.map(({ taskId }: { taskId: string }) => taskId)), new Set(expected))
      assert.equal(revoked, expected.length)
      assert.deepEqual((await site.app.tasks.list({ statuses: ['REVOKED'] })).map(({ taskId }) => taskId).sort(), [...expected].sort())
    })
  }

  it('needs a yes where there is no terminal to ask on', async () => {
    await using site = await openSite()
    await putOneOfEach(site)
    const { stderr, code } = await site.run(['revoke', '--task', '*'])
    assert.match(stderr, /^taskledger: this needs a yes, and there is no terminal to ask on\n/)
    assert.equal(code, 2)
    assert.deepEqual(await statuses(site, OPEN), ['PENDING', 'SCHEDULED', 'RETRY'])
  })

  it('asks on a terminal, and revokes nothing unless the answer is yes', async function () {
    if (withoutTerminal()) return this.skip()
    await using site = await openSite()
    await putOneOfEach(site)
    const no = await site.terminal(['revoke', '--task', '*'], { input: 'n\n' })
    assert.match(no.stdout, /Revoke 3 tasks\? \[y\/N\] /)
    assert.equal(no.code, 1)
    assert.match((await site.terminal(['revoke', '--queue', 'slow'], { input: 'n\n' })).stdout, /Revoke 1 task\? /)
    assert.deepEqual(await statuses(site, OPEN), ['PENDING', 'SCHEDULED', 'RETRY'])
    await site.terminal(['revoke', '--task', '*'], { input: 'y\n' })
    assert.deepEqual(await statuses(site, OPEN), ['REVOKED', 'REVOKED', 'REVOKED'])
  })

  it('needs ids or flags that select', async () => {
    await using site = await openSite()
    const { stderr, code } = await site.run(['revoke', '--yes'])
    assert.match(stderr, /^taskledger: expected tasks to revoke, got none\n/)
    assert.equal(code, 2)
  })

  it('revokes nothing when more than --max are selected', async () => {
    await using site = await openSite()
    await putOneOfEach(site)
    const { stderr, code } = await site.run(['revoke', '--task', '*', '--max', '2', '--yes'])
    assert.deepEqual([stderr, code], ['taskledger: more than 2 tasks are selected\n  narrow the selection, or raise --max\n', 2])
    assert.deepEqual(await statuses(site, OPEN), ['PENDING', 'SCHEDULED', 'RETRY'])
  })

  it('of nothing is no error', async () => {
    await using site = await openSite()
    const { stderr, code } = await site.run(['revoke', '--task', 'none.*', '--yes'])
    assert.deepEqual([stderr, code], ['Revoked 0 of 0.\n', 0])
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
