import assert from 'node:assert/strict'
import { countTasks, findTasks, type TaskFilter } from '../../src/lib/ledger/filter.js'
import { childrenOf, findIds, retriesOf, statusOf } from '../../src/lib/ledger/find.js'
import { type Columns, putRow } from '../helpers/rows.js'
import { DAWN, openWorld, type World } from '../helpers/world.js'

const ROWS: readonly Columns[] = [
  { task_id: 'a', task: 'mail.send', queue: 'fast' },
  { task_id: 'b', task: 'mail.read', status: 'FAILURE', error_type: 'FetchError', submitted_at: DAWN - 10 },
  { task_id: 'c', task: 'web.fetch', status: 'SUCCESS', queue: 'fast', updated_at: DAWN - 10 },
  { task_id: 'd', task: 'mail', status: 'UPLOADING', worker_id: 'w' },
  { task_id: 'e', task: 'Mail.send', status: 'REVOKED', error_type: 'TaskRevokedError' },
]

async function filled(): Promise<World> {
  const w = await openWorld()
  for (const row of ROWS) await putRow(w.database, row)
  return w
}

describe('a filter', () => {
  const cases: readonly (readonly [string, TaskFilter, string])[] = [
    ['with nothing in it means every task, the newest first', {}, 'edcba'],
    ['by id means these', { ids: ['c', 'a', 'nowhere'] }, 'ca'],
    ['by no id at all means none', { ids: [] }, ''],
    ['by name means exactly that one', { tasks: ['mail'] }, 'd'],
    ['by a glob means what begins so', { tasks: ['mail.*'] }, 'ba'],
    ['by a glob with a star in front means what ends so', { tasks: ['*.send'] }, 'ea'],
    ['by a question mark means any one character', { tasks: ['mail.?e??'] }, 'ba'],
    ['by several names means any of them', { tasks: ['mail', 'web.*'] }, 'dc'],
    ['by no name means any', { tasks: [], statuses: [] }, 'edcba'],
    ['by an open status', { statuses: ['PENDING'] }, 'a'],
    ["by a status of a task's own", { statuses: ['UPLOADING'] }, 'd'],
    ['by each final status', { statuses: ['SUCCESS'] }, 'c'],
    ['by several statuses means any of them', { statuses: ['FAILURE', 'REVOKED', 'PENDING'] }, 'eba'],
    ['by queue', { queue: 'fast' }, 'ca'],
    ['by error type', { errorType: 'FetchError' }, 'b'],
    ['since an instant includes that instant', { since: new Date(DAWN) }, 'edca'],
    ['until an instant leaves that instant out', { until: new Date(DAWN) }, 'b'],
    ['by age includes the cutoff itself', { cutoff: new Date(DAWN - 10) }, 'c'],
    ['means only what all of its parts mean', { tasks: ['mail.*'], statuses: ['FAILURE', 'SUCCESS'], since: new Date(0) }, 'b'],
  ]
  for (const [what, filter, expected] of cases) {
    it(what, async () => {
      await using w = await filled()
      assert.equal((await findTasks(w.database, filter, 100)).map(({ taskId }) => taskId).join(''), expected)
      assert.equal(await countTasks(w.database, filter, 100), expected.length)
    })
  }

  it('is a value, whatever is written in it', async () => {
    await using w = await filled()
    const odd = "x' OR 1 --"
    for (const filter of [{ tasks: [odd] }, { statuses: [odd] }, { queue: odd }, { errorType: odd }, { ids: [odd] }]) {
      assert.deepEqual(await findTasks(w.database, filter, 10), [])
    }
  })
})

describe('a list', () => {
  it('goes on below the last row of the page before', async () => {
    await using w = await filled()
    const pages: string[] = []
    let before: number | undefined
    for (let i = 0; i < 4; i++) {
      const page = await findTasks(w.database, {}, 2, before)
      pages.push(page.map(({ taskId }) => taskId).join(''))
      before = page.at(-1)?.id ?? before
    }
    assert.deepEqual(pages, ['ed', 'cb', 'a', ''])
  })

  it('is counted no further than asked', async () => {
    await using w = await filled()
    assert.equal(await countTasks(w.database, {}, 3), 3)
  })
})

describe('a shortened id', () => {
  it('means every id that begins so, in order', async () => {
    await using w = await openWorld()
    for (const id of ['ab2', 'ab1', 'ac', 'b', 'ab\u{1F600}']) await putRow(w.database, { task_id: id })
    assert.deepEqual(await findIds(w.database, 'ab', 10), ['ab1', 'ab2', 'ab\u{1F600}'])
    assert.deepEqual(await findIds(w.database, 'ab', 1), ['ab1'])
    assert.deepEqual(await findIds(w.database, 'a%', 10), [])
  })
})

describe('the family of a task', () => {
  it('is the copies sent of it and the tasks its body published, in the order they were recorded', async () => {
    await using w = await openWorld()
    await putRow(w.database, { task_id: 'a' })
    for (const [id, columns] of Object.entries({
      z: { retry_of: 'a' },
      y: { parent_id: 'a' },
      x: { retry_of: 'a' },
      v: { parent_id: 'z' },
    })) {
      await putRow(w.database, { task_id: id, ...columns })
    }
    assert.deepEqual([await retriesOf(w.database, 'a'), await childrenOf(w.database, 'a')], [['z', 'x'], ['y']])
  })
})

describe('the status of a task', () => {
  it('is told with whether it has ended, and null is for an id that is not known', async () => {
    await using w = await filled()
    assert.deepEqual(await statusOf(w.database, 'a'), { status: 'PENDING', finished: false })
    assert.deepEqual(await statusOf(w.database, 'b'), { status: 'FAILURE', finished: true })
    assert.equal(await statusOf(w.database, 'nowhere'), null)
  })
})
