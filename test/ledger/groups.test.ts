import assert from 'node:assert/strict'
import type { GroupRecord } from '../../src/lib/canvas/launch.js'
import type { TaskEnd } from '../../src/lib/canvas/settle.js'
import { arrive, endChord, findExpiredGroups, nextDeadline } from '../../src/lib/ledger/arrivals.js'
import { addMembers, forgetGroup, groupOf, membersOf, recordGroup, replaceMember, resultsOf } from '../../src/lib/ledger/groups.js'
import { putRow } from '../helpers/rows.js'
import { sig } from '../helpers/workflows.js'
import { DAWN, openWorld, type World } from '../helpers/world.js'

const BODY = sig('total', [1])

const GROUP: GroupRecord = { groupId: 'g', members: ['a', 'b', 'c'], body: null, rootId: 'g', parentId: null, deadline: null }
const CHORD: GroupRecord = { ...GROUP, body: BODY, rootId: 'root', parentId: 'parent' }
const WAITING = { groupId: 'g', body: BODY, rootId: 'root', parentId: 'parent', deadline: null }

const GOOD: TaskEnd = { status: 'SUCCESS', value: 1 }
const BAD: TaskEnd = { status: 'FAILURE', error: { type: 'Error', message: 'no', traceback: null } }

const record = (w: World, group: GroupRecord) => w.database.write((sql) => recordGroup(sql, group, w.clock.now()))

/** What the arrival of a task at a place of the group means. */
const arrival = (w: World, groupIndex: number, taskId: string, end: TaskEnd = GOOD) =>
  w.database.write((sql) => arrive(sql, { groupId: 'g', groupIndex, taskId, task: 'same', end, culprit: taskId }, w.clock.now()))

const counts = async ({ database }: World) => {
  const found = await groupOf(database, 'g')
  return [found?.remaining, found?.failed, found?.finishedAt?.getTime() ?? null]
}

describe('a group', () => {
  it('is recorded once, with its members in their order', async () => {
    await using w = await openWorld()
    assert.equal(await record(w, CHORD), true)
    assert.equal(await record(w, { ...GROUP, members: ['other'] }), false)
    assert.deepEqual(await groupOf(w.database, 'g'), {
      groupId: 'g',
      size: 3,
      remaining: 3,
      failed: 0,
      chord: true,
      rootId: 'root',
      parentId: 'parent',
      deadline: null,
      submittedAt: new Date(DAWN),
      finishedAt: null,
    })
    assert.deepEqual(
      (await membersOf(w.database, 'g')).map(({ index, taskId, status }) => [index, taskId, status]),
      [
        [0, 'a', 'PENDING'],
        [1, 'b', 'PENDING'],
        [2, 'c', 'PENDING'],
      ],
    )
    assert.equal(await groupOf(w.database, 'unknown'), null)
  })

  it('of none has ended when it is recorded', async () => {
    await using w = await openWorld()
    await record(w, { ...GROUP, members: [] })
    assert.deepEqual(await counts(w), [0, 0, DAWN])
  })

  it('has ended once all of its members have, however they did', async () => {
    await using w = await openWorld()
    await record(w, GROUP)
    assert.deepEqual(await arrival(w, 2, 'c', BAD), { kind: 'counted' })
    assert.deepEqual(await arrival(w, 0, 'a', { status: 'IGNORED' }), { kind: 'counted' })
    assert.deepEqual(await counts(w), [1, 1, null])
    w.clock.advance(5)
    assert.deepEqual(await arrival(w, 1, 'b'), { kind: 'counted' })
    assert.deepEqual(await counts(w), [0, 1, DAWN + 5])
  })

  it('tells of each member what its row says, and what it ended with when its row is gone', async () => {
    await using w = await openWorld()
    await record(w, GROUP)
    await putRow(w.database, { task_id: 'a', status: 'PROGRESS' })
    await arrival(w, 1, 'b', BAD)
    assert.deepEqual(
      (await membersOf(w.database, 'g')).map(({ status }) => status),
      ['PROGRESS', 'FAILURE', 'PENDING'],
    )
  })

  it('counts an arrival once, also when it is told of it again, or of another end of the same task', async () => {
    await using w = await openWorld()
    await record(w, CHORD)
    await arrival(w, 0, 'a')
    for (const end of [GOOD, BAD]) assert.deepEqual(await arrival(w, 0, 'a', end), { kind: 'counted' })
    assert.deepEqual(await counts(w), [2, 0, null])
  })

  it('that nobody recorded counts nothing, nor does a place it does not have', async () => {
    await using w = await openWorld()
    assert.deepEqual(await arrival(w, 0, 'a'), { kind: 'counted' })
    await record(w, CHORD)
    assert.deepEqual(await arrival(w, 7, 'h', BAD), { kind: 'counted' })
    assert.deepEqual(await counts(w), [3, 0, null])
  })

  it('takes further members after those it has', async () => {
    await using w = await openWorld()
    await record(w, CHORD)
    await w.database.write((sql) => addMembers(sql, 'g', 3, ['d', 'e']))
    assert.deepEqual(
      (await membersOf(w.database, 'g')).map(({ taskId }) => taskId),
      ['a', 'b', 'c', 'd', 'e'],
    )
    assert.deepEqual((await groupOf(w.database, 'g'))?.remaining, 5)
  })

  it('gives a place that is open to another task, and no other', async () => {
    await using w = await openWorld()
    await record(w, CHORD)
    await arrival(w, 0, 'a')
    for (const index of [0, 1]) await w.database.write((sql) => replaceMember(sql, 'g', index, `new-${index}`))
    assert.deepEqual(
      (await membersOf(w.database, 'g')).map(({ taskId }) => taskId),
      ['a', 'new-1', 'c'],
    )
  })

  it('is forgotten once it is over, and not before', async () => {
    await using w = await openWorld()
    await record(w, { ...GROUP, members: ['a', 'b'] })
    await arrival(w, 0, 'a')
    assert.equal(await w.database.write((sql) => forgetGroup(sql, 'g')), false)
    await arrival(w, 1, 'b')
    assert.equal(await w.database.write((sql) => forgetGroup(sql, 'g')), true)
    assert.deepEqual([await groupOf(w.database, 'g'), await membersOf(w.database, 'g')], [null, []])
  })
})

describe('a chord', () => {
  it('is complete with its last member, and says so once', async () => {
    await using w = await openWorld()
    await record(w, CHORD)
    for (const [index, id] of [
      [2, 'c'],
      [0, 'a'],
    ] as const)
      assert.deepEqual(await arrival(w, index, id), { kind: 'counted' })
    assert.deepEqual(await arrival(w, 1, 'b', { status: 'IGNORED' }), { kind: 'complete', chord: WAITING })
    assert.deepEqual(await arrival(w, 1, 'b'), { kind: 'counted' })
    assert.deepEqual(await counts(w), [0, 0, DAWN])
  })

  it('fails with the first member that does, once, and counts on', async () => {
    await using w = await openWorld()
    await record(w, CHORD)
    assert.deepEqual(await arrival(w, 1, 'b', BAD), { kind: 'failed', chord: WAITING })
    w.clock.advance(5)
    assert.deepEqual(await arrival(w, 2, 'c', { ...BAD, status: 'REVOKED' } as TaskEnd), { kind: 'counted' })
    assert.deepEqual(await arrival(w, 0, 'a'), { kind: 'counted' })
    assert.deepEqual(await counts(w), [0, 2, DAWN])
  })

  it('is repaired once copies have taken all bad places, in whatever order, and no good one is taken', async () => {
    await using w = await openWorld()
    await record(w, CHORD)
    await arrival(w, 1, 'b', BAD)
    await arrival(w, 2, 'c', BAD)
    assert.deepEqual(await arrival(w, 1, 'copy of b', BAD), { kind: 'counted' })
    assert.deepEqual(await arrival(w, 1, 'copy of b 2'), { kind: 'counted' })
    assert.deepEqual(await arrival(w, 2, 'copy of c'), { kind: 'counted' })
    assert.deepEqual(await counts(w), [1, 0, DAWN])
    assert.deepEqual(await arrival(w, 0, 'a'), { kind: 'repaired', chord: WAITING })
    for (const [index, id] of [
      [0, 'copy of a'],
      [1, 'copy of b 3'],
    ] as const)
      assert.deepEqual(await arrival(w, index, id), { kind: 'counted' })
    assert.deepEqual(
      (await membersOf(w.database, 'g')).map(({ taskId }) => taskId),
      ['a', 'copy of b 2', 'copy of c'],
    )
  })

  it('whose time was up is not repaired: its members count, and its body is not sent', async () => {
    await using w = await openWorld()
    await record(w, { ...CHORD, deadline: DAWN + 10 })
    await arrival(w, 1, 'b', BAD)
    await arrival(w, 0, 'a')
    await arrival(w, 2, 'c')
    w.clock.advance(10)
    assert.deepEqual(await arrival(w, 1, 'copy of b'), { kind: 'counted' })
    assert.deepEqual(await counts(w), [0, 0, DAWN])
  })

  it('is found at its deadline while it waits, the longest expired first, and is ended once', async () => {
    await using w = await openWorld()
    for (const [groupId, deadline, body] of [
      ['late', DAWN + 20, BODY],
      ['early', DAWN + 10, BODY],
      ['plain', DAWN + 5, null],
      ['never', null, BODY],
      ['failed', DAWN + 1, BODY],
    ] as const)
      await record(w, { ...GROUP, groupId, deadline, body })
    await w.database.write((sql) =>
      arrive(sql, { groupId: 'failed', groupIndex: 0, taskId: 'a', task: 'same', end: BAD, culprit: 'a' }, DAWN),
    )
    assert.equal(await nextDeadline(w.database), DAWN + 10)
    assert.deepEqual(await findExpiredGroups(w.database, DAWN + 9, 10), [])
    assert.deepEqual(
      (await findExpiredGroups(w.database, DAWN + 20, 10)).map(({ groupId }) => groupId),
      ['early', 'late'],
    )
    assert.deepEqual(await findExpiredGroups(w.database, DAWN + 20, 1), [{ groupId: 'early', size: 3, remaining: 3, deadline: DAWN + 10 }])
    const expire = () => w.database.write((sql) => endChord(sql, 'early', DAWN + 10))
    assert.equal((await expire())?.groupId, 'early')
    assert.equal(await expire(), null)
    assert.equal(await nextDeadline(w.database), DAWN + 20)
  })

  it('reads its results in its order: null for what is null, ignored or skipped; it says which row is gone, and what is not the value', async () => {
    await using w = await openWorld()
    await record(w, { ...CHORD, members: ['a', 'b', 'c', 'd', 'e'] })
    await putRow(w.database, { task_id: 'c', status: 'SUCCESS', result: '{"x":1}', options: '{"unreadable":["args"]}' })
    await putRow(w.database, { task_id: 'b', status: 'IGNORED', result: '"kept by hand"' })
    await putRow(w.database, { task_id: 'd', status: 'SUCCESS', result: null })
    await putRow(w.database, { task_id: 'e', status: 'SUCCESS', result: '{"repr":"<x>"}', options: '{"unreadable":["result"]}' })
    await arrival(w, 0, 'a')
    await arrival(w, 1, 'b', { status: 'IGNORED' })
    await arrival(w, 2, 'c')
    await arrival(w, 3, 'd')
    await arrival(w, 4, 'e')
    assert.deepEqual(await resultsOf(w.database, 'g'), [
      { taskId: 'a', result: null, kept: false, exact: true },
      { taskId: 'b', result: null, kept: true, exact: true },
      { taskId: 'c', result: '{"x":1}', kept: true, exact: true },
      { taskId: 'd', result: null, kept: true, exact: true },
      { taskId: 'e', result: '{"repr":"<x>"}', kept: true, exact: false },
    ])
  })
})
