import assert from 'node:assert/strict'
import type { Database } from '../../src/lib/database/database.js'
import { findStale, findStaleScheduled, type StaleFilter, type StaleReason } from '../../src/lib/ledger/stale.js'
import { FINAL_STATUSES } from '../../src/lib/task/status.js'
import { type Columns, putRow } from '../helpers/rows.js'
import { DAWN, openWorld, type World } from '../helpers/world.js'

const HOUR = 3_600_000

/** Every fault a row can have, and the one reason it is listed for; all touched last at DAWN. */
const FAULTS: readonly (readonly [string, StaleReason, Omit<Columns, 'task_id'>])[] = [
  ['recorded, and no broker ever confirmed its message', 'unpublished', { published_at: null }],
  ['published, and never taken by a worker', 'unclaimed', {}],
  ['published with an eta that has passed, and never taken', 'unclaimed', { eta: DAWN }],
  ['published for its retry, and never taken', 'unclaimed', { status: 'RETRY', eta: DAWN, retries: 1 }],
  ['acked early by a worker that is gone', 'lost', { status: 'STARTED', worker_id: 'w', deliveries: 1, lease_until: DAWN }],
  ['in a status of its own, by a worker that is gone', 'lost', { status: 'UPLOADING', worker_id: 'w', deliveries: 1, lease_until: DAWN }],
  [
    'started without an ack by a worker that is gone, so that its message is back',
    'unclaimed',
    { status: 'STARTED', worker_id: 'w', deliveries: 1, lease_until: DAWN, options: '{"acksLate":true}' },
  ],
  [
    'run by a worker that lives, for too long',
    'stuck',
    { status: 'STARTED', worker_id: 'w', deliveries: 1, lease_until: DAWN + 99 * HOUR },
  ],
  ['waiting for a retry that nobody sent', 'overdue', { status: 'RETRY', eta: DAWN, published_at: null }],
  ['waiting in the broker for an eta that passed before it was confirmed', 'overdue', { eta: DAWN, published_at: null }],
  ['scheduled, due, and claimed by nobody', 'overdue', { status: 'SCHEDULED', eta: DAWN }],
  [
    'scheduled, and claimed by a sender that did not send it',
    'claimed',
    { status: 'SCHEDULED', eta: DAWN - HOUR, scheduled_id: 'new', claimed_at: DAWN },
  ],
]

/** Rows that need nobody. */
const SOUND: readonly (readonly [string, Omit<Columns, 'task_id'>])[] = [
  ['scheduled for later', { status: 'SCHEDULED', eta: DAWN + 99 * HOUR }],
  ['waiting for a later retry', { status: 'RETRY', eta: DAWN + 99 * HOUR, published_at: null }],
  ['held by the broker for a later eta', { eta: DAWN + 99 * HOUR }],
  ...FINAL_STATUSES.map((status) => [`in ${status}`, { status }] as const),
]

const filter = (given: Partial<StaleFilter> = {}): StaleFilter => ({ cutoff: DAWN, now: DAWN + HOUR, limit: 100, ...given })

/** Every row of either list, as `id reason`. */
async function listed(database: Database, given: Partial<StaleFilter> = {}): Promise<string[]> {
  const rows = [...(await findStale(database, filter(given))), ...(await findStaleScheduled(database, filter(given)))]
  return rows.map(({ taskId, reason }) => `${taskId} ${reason}`)
}

async function put({ database }: World, ...rows: readonly Columns[]): Promise<void> {
  for (const row of rows) await putRow(database, row)
}

const withId = (id: string, columns: Omit<Columns, 'task_id'>): Columns => ({ task_id: id, ...columns })

describe('a task', () => {
  for (const [what, reason, columns] of FAULTS) {
    it(`${what} is listed once, as ${reason}`, async () => {
      await using w = await openWorld()
      await put(w, withId('t', columns))
      assert.deepEqual(await listed(w.database), [`t ${reason}`])
    })
  }

  for (const [what, columns] of SOUND) {
    it(`${what} is not listed`, async () => {
      await using w = await openWorld()
      await put(w, withId('t', columns))
      assert.deepEqual(await listed(w.database), [])
    })
  }

  it('is listed from the very millisecond of the cutoff on', async () => {
    await using w = await openWorld()
    for (const [n, [, , columns]] of FAULTS.entries()) await put(w, withId(`t${n}`, columns))
    assert.deepEqual(await listed(w.database, { cutoff: DAWN - 1 }), [])
    assert.equal((await listed(w.database, { cutoff: DAWN })).length, FAULTS.length)
  })

  it('is lost from the very millisecond at which the lease of its worker ends', async () => {
    await using w = await openWorld()
    await put(w, { task_id: 't', status: 'STARTED', worker_id: 'w', lease_until: DAWN + 10 })
    assert.deepEqual(await listed(w.database, { now: DAWN + 9 }), ['t stuck'])
    assert.deepEqual(await listed(w.database, { now: DAWN + 10 }), ['t lost'])
  })

  it('that was scheduled is in no list but that of the scheduled ones', async () => {
    await using w = await openWorld()
    await put(w, { task_id: 't', status: 'SCHEDULED', eta: DAWN })
    assert.deepEqual(await findStale(w.database, filter()), [])
    assert.equal((await findStaleScheduled(w.database, filter())).length, 1)
  })

  it("that was sent again is the copy's business from then on", async () => {
    await using w = await openWorld()
    await put(w, { task_id: 'a' }, { task_id: 'b' }, { task_id: 'copy', retry_of: 'a', updated_at: DAWN + 1 })
    assert.deepEqual(await listed(w.database), ['b unclaimed'])
    assert.deepEqual(await listed(w.database, { cutoff: DAWN + 1 }), ['b unclaimed', 'copy unclaimed'])
  })
})

describe('the stale list', () => {
  it('begins with the oldest, each kind measured by its own clock', async () => {
    await using w = await openWorld()
    await put(
      w,
      { task_id: 'young', updated_at: DAWN - 10 },
      { task_id: 'overdue', status: 'RETRY', published_at: null, eta: DAWN - 30, updated_at: DAWN - 9999 },
      { task_id: 'old', updated_at: DAWN - 40 },
      { task_id: 'unpublished', published_at: null, updated_at: DAWN - 20 },
      { task_id: 'twin', updated_at: DAWN - 40 },
    )
    assert.deepEqual(await listed(w.database), [
      'old unclaimed',
      'twin unclaimed',
      'overdue overdue',
      'unpublished unpublished',
      'young unclaimed',
    ])
    assert.deepEqual(await listed(w.database, { limit: 2 }), ['old unclaimed', 'twin unclaimed'])
  })

  it('of scheduled tasks measures a claim from when it was made, and an overdue one from its eta', async () => {
    await using w = await openWorld()
    await put(
      w,
      { task_id: 'claimed', status: 'SCHEDULED', eta: DAWN - HOUR, scheduled_id: 'n', claimed_at: DAWN - 5 },
      { task_id: 'overdue', status: 'SCHEDULED', eta: DAWN - 10 },
    )
    assert.deepEqual(await listed(w.database), ['overdue overdue', 'claimed claimed'])
    assert.deepEqual(await listed(w.database, { cutoff: DAWN - 6 }), ['overdue overdue'])
  })

  it('may be of some reasons only', async () => {
    await using w = await openWorld()
    for (const [n, [, , columns]] of FAULTS.entries()) await put(w, withId(`t${n}`, columns))
    for (const reason of new Set(FAULTS.map(([, known]) => known))) {
      const found = await listed(w.database, { reasons: [reason] })
      assert.equal(found.length, FAULTS.filter(([, known]) => known === reason).length, reason)
      for (const one of found) assert.ok(one.endsWith(` ${reason}`))
    }
    assert.equal((await listed(w.database, { reasons: ['lost', 'stuck'] })).length, 3)
    assert.equal((await listed(w.database, { reasons: [] })).length, 0)
  })

  it('may be of some tasks and of one queue only', async () => {
    await using w = await openWorld()
    await put(w, { task_id: 'a', task: 'mail.send' }, { task_id: 'b', task: 'mail.read', queue: 'slow' }, { task_id: 'c', task: 'web' })
    assert.deepEqual(await listed(w.database, { tasks: ['mail.*'] }), ['a unclaimed', 'b unclaimed'])
    assert.deepEqual(await listed(w.database, { tasks: ['mail.read', 'web'] }), ['b unclaimed', 'c unclaimed'])
    assert.deepEqual(await listed(w.database, { tasks: [], queue: 'slow' }), ['b unclaimed'])
  })

  it('takes the terminal statuses it is given instead of its own', async () => {
    await using w = await openWorld()
    await put(w, { task_id: 'pending' }, { task_id: 'up', status: 'UPLOADING', worker_id: 'w', lease_until: DAWN })
    for (const status of FINAL_STATUSES) await put(w, { task_id: status, status })
    const ids = async (...terminal: string[]) =>
      (await findStale(w.database, filter(), terminal)).map(({ taskId, reason }) => `${taskId} ${reason}`)
    assert.deepEqual(await ids('REVOKED', 'SUCCESS', 'IGNORED', 'SCHEDULED_SENT', 'UPLOADING'), ['pending unclaimed', 'FAILURE ended'])
    assert.deepEqual(await ids('FAILURE', 'REVOKED', 'IGNORED', 'SCHEDULED_SENT', 'PENDING'), ['up lost', 'SUCCESS ended'])
    assert.equal((await ids()).length, 7)
  })
})
