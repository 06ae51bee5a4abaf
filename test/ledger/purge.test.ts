import assert from 'node:assert/strict'
import { recordAttempt } from '../../src/lib/ledger/attempts.js'
import { countPurgeable, finishedBeyond, forget, type PurgeBound, purgeBatch } from '../../src/lib/ledger/purge.js'
import { STATUSES } from '../../src/lib/task/status.js'
import { itOnSqlBroker } from '../helpers/databases.js'
import { aMessage, putRow } from '../helpers/rows.js'
import { DAWN, openWorld, type World } from '../helpers/world.js'

const at = (ms: number) => new Date(DAWN + ms)

/** Four that ended one after another, the first two with a result that expires, and one open row of each kind. */
async function filled(): Promise<World> {
  const w = await openWorld()
  for (const [n, status] of ['SUCCESS', 'FAILURE', 'REVOKED', 'SUCCESS'].entries()) {
    const expiry = n < 2 ? DAWN + 100 - n : null
    await putRow(w.database, { task_id: `ended-${n}`, status, finished_at: DAWN + n, result_expires_at: expiry })
    await w.database.write((sql) => recordAttempt(sql, `ended-${n}`, 'failure', null, null, DAWN))
  }
  for (const status of ['PENDING', 'SCHEDULED', 'STARTED', 'RETRY', 'UPLOADING']) {
    await putRow(w.database, { task_id: status, status, eta: DAWN - 9999, updated_at: DAWN - 9999 })
    await w.database.write((sql) => recordAttempt(sql, status, 'retry', null, null, DAWN))
  }
  return w
}

const OPEN = 5

async function left({ database }: World): Promise<string[]> {
  const rows = await database.all<{ task_id: string }>('SELECT task_id FROM task_result WHERE finished_at IS NOT NULL ORDER BY id', [])
  const [open] = await database.all<{ n: number }>('SELECT count(*) AS n FROM task_result WHERE finished_at IS NULL', [])
  assert.equal(open?.n, OPEN, 'open rows stay')
  const history = await database.all<{ task_id: string }>(
    "SELECT task_id FROM task_attempt WHERE task_id LIKE 'ended%' ORDER BY task_id",
    [],
  )
  assert.deepEqual(history, rows, 'the history goes with the row, and only with it')
  return rows.map(({ task_id }) => task_id)
}

const purge = async (w: World, bound: PurgeBound, limit = 100) => (await w.database.write((sql) => purgeBatch(sql, bound, limit))).length

describe('a purge', () => {
  const cases: readonly (readonly [string, PurgeBound, readonly string[]])[] = [
    ['without a bound deletes all that has ended', {}, []],
    ['by age deletes what ended at the cutoff or before', { cutoff: at(1) }, ['ended-2', 'ended-3']],
    ['by status deletes no other', { statuses: ['SUCCESS'] }, ['ended-1', 'ended-2']],
    ['by status and age needs both', { statuses: ['SUCCESS', 'REVOKED'], cutoff: at(2) }, ['ended-1', 'ended-3']],
    [
      'of expired results deletes at their very millisecond, and never what is kept for ever',
      { expiredAt: at(99) },
      ['ended-0', 'ended-2', 'ended-3'],
    ],
    [
      'of an open status deletes nothing',
      { statuses: [...STATUSES].filter((s) => s === 'PENDING' || s === 'RETRY') },
      ['ended-0', 'ended-1', 'ended-2', 'ended-3'],
    ],
  ]
  for (const [what, bound, expected] of cases) {
    it(what, async () => {
      await using w = await filled()
      const count = await countPurgeable(w.database, bound)
      assert.equal(await purge(w, bound), count)
      assert.deepEqual(await left(w), expected)
      assert.equal(count, 4 - expected.length)
    })
  }

  it('deletes the longest ended first, a batch at a time', async () => {
    await using w = await filled()
    assert.equal(await purge(w, {}, 3), 3)
    assert.deepEqual(await left(w), ['ended-3'])
    assert.equal(await purge(w, {}, 3), 1)
    assert.equal(await purge(w, {}, 3), 0)
  })

  itOnSqlBroker('through the app takes the messages of what it deletes along, and no other', async () => {
    await using w = await filled()
    await w.broker.publish(['ended-1', 'PENDING', 'stranger', 'ended-3'].map((id) => aMessage({ id })))
    await w.app.tasks.purge({ cutoff: at(2) })
    const waiting = await w.broker.receive(['default'], 10, 1000)
    assert.deepEqual(
      waiting.map(({ message }) => message.id),
      ['PENDING', 'stranger', 'ended-3'],
    )
  })

  it('through the app goes on until nothing is left, and stops when it is told to', async () => {
    await using w = await filled()
    const stopped = AbortSignal.abort()
    assert.equal(await w.app.tasks.purge({}, { signal: stopped }), 0)
    const told: number[] = []
    assert.equal(await w.app.tasks.purge({}, { each: (deleted) => told.push(deleted) }), 4)
    assert.deepEqual(told, [4])
  })
})

describe('the number of rows to keep', () => {
  it('becomes the time before which rows may go', async () => {
    await using w = await filled()
    assert.deepEqual([await finishedBeyond(w.database, 0), await finishedBeyond(w.database, 3)], [at(3), at(0)])
    assert.equal(await finishedBeyond(w.database, 4), null)
    await purge(w, { cutoff: (await finishedBeyond(w.database, 2)) ?? at(-1) })
    assert.deepEqual(await left(w), ['ended-2', 'ended-3'])
  })
})

describe('forgetting a task', () => {
  it('deletes it with its history once it has ended, and never before', async () => {
    await using w = await filled()
    const outcomes: boolean[] = []
    for (const id of ['ended-0', 'ended-0', 'PENDING', 'nowhere']) outcomes.push(await w.database.write((sql) => forget(sql, id)))
    assert.deepEqual(outcomes, [true, false, false, false])
    assert.deepEqual(await left(w), ['ended-1', 'ended-2', 'ended-3'])
  })
})
