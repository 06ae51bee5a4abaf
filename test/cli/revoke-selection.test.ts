import assert from 'node:assert/strict'
import { openSite, withoutTerminal } from '../helpers/site.js'
import { OPEN, putOneOfEach, statuses } from './one-of-each.js'

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
