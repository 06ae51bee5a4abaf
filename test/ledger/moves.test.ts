import assert from 'node:assert/strict'
import type { Sql } from '../../src/lib/database/sql.js'
import * as ends from '../../src/lib/ledger/ends.js'
import * as moves from '../../src/lib/ledger/moves.js'
import type { StoredRow } from '../../src/lib/ledger/row.js'
import * as starts from '../../src/lib/ledger/starts.js'
import { isFinal, MOVES, STATUSES, type Status } from '../../src/lib/task/status.js'
import { type Columns, putRow, storedRow } from '../helpers/rows.js'
import { DAWN, openWorld } from '../helpers/world.js'

const OWNER: moves.Owner = { taskId: 't', workerId: 'w1', deliveries: 1, retries: 0 }
const NEXT: moves.Owner = { taskId: 't', workerId: 'w2', deliveries: 2, retries: 0 }
const END: ends.End = { at: DAWN + 5, resultExpiresAt: DAWN + 1000 }
const ERROR = { type: 'FetchError', message: 'no', traceback: 'FetchError: no\n  at x' }
const STORED = { args: '["kept"]', kwargs: '{"kept":true}', options: '{"headers":{"a":1}}' }
const LEASE = DAWN + 30_000
const START: starts.Start = { leaseUntil: LEASE, maxRetries: 3, options: null, track: true }
const WAITING: moves.Waiting = { retries: 1, eta: DAWN + 60_000, error: ERROR, stored: STORED, queue: 'mail', priority: 3 }

/** A row in a status, as the moves that lead there leave it. */
const ROWS: Record<Status | 'UPLOADING', Columns> = {
  PENDING: { task_id: 't' },
  SCHEDULED: { task_id: 't', status: 'SCHEDULED', eta: DAWN, scheduled_id: 'new', claimed_at: DAWN },
  STARTED: { task_id: 't', status: 'STARTED', worker_id: 'w1', deliveries: 1, started_at: DAWN, lease_until: DAWN },
  UPLOADING: { task_id: 't', status: 'UPLOADING', worker_id: 'w1', deliveries: 1, started_at: DAWN, lease_until: DAWN },
  RETRY: { task_id: 't', status: 'RETRY', eta: DAWN },
  SUCCESS: { task_id: 't', status: 'SUCCESS', worker_id: 'w1', deliveries: 1, result: '1' },
  FAILURE: { task_id: 't', status: 'FAILURE', worker_id: 'w1', deliveries: 1, error_type: 'Error' },
  REVOKED: { task_id: 't', status: 'REVOKED' },
  IGNORED: { task_id: 't', status: 'IGNORED', worker_id: 'w1', deliveries: 1 },
  SCHEDULED_SENT: { task_id: 't', status: 'SCHEDULED_SENT', scheduled_id: 'new', eta: DAWN },
}

type Verb = (sql: Sql) => Promise<boolean>

/** Every verb there is, by the status it leads to, for a row whose lease ran out at DAWN. */
const VERBS: Record<Status, readonly Verb[]> = {
  PENDING: [(sql) => moves.moveToPending(sql, OWNER, DAWN + 5)],
  SCHEDULED: [],
  STARTED: [
    (sql) => starts.moveToStarted(sql, NEXT, START, DAWN + 5),
    async (sql) => (await starts.moveToStartedAndCount(sql, NEXT, START, true, DAWN + 5)) !== null,
  ],
  RETRY: [(sql) => moves.moveToRetry(sql, OWNER, WAITING, DAWN + 5)],
  SUCCESS: [(sql) => ends.moveToSuccess(sql, OWNER, '{"a":1}', END)],
  FAILURE: [(sql) => ends.moveToFailure(sql, OWNER, ERROR, END), (sql) => ends.failUnstarted(sql, 't', ERROR, END)],
  REVOKED: [
    (sql) => ends.revokeUnstarted(sql, 't', 'expired', END),
    (sql) => ends.revokeScheduled(sql, 't', 'expired', END),
    (sql) => ends.moveToRevoked(sql, OWNER, 'terminated', END),
    (sql) => ends.revokeOpen(sql, 't', 'revoked', false, END),
  ],
  IGNORED: [(sql) => ends.moveToIgnored(sql, OWNER, END)],
  SCHEDULED_SENT: [(sql) => ends.moveToScheduledSent(sql, 't', 'new', STORED, END)],
}

/** The columns that `verb` changes in a row, and what they become; null when it says that it did nothing. */
async function changes(columns: Columns, verb: Verb): Promise<Partial<StoredRow> | null> {
  await using w = await openWorld()
  await putRow(w.database, columns)
  const before: Record<string, unknown> = { ...(await storedRow(w.database, columns.task_id)) }
  const moved = await w.database.write(verb)
  const after = Object.entries(await storedRow(w.database, columns.task_id))
  const changed = Object.fromEntries(after.filter(([name, value]) => before[name] !== value))
  if (moved) return changed
  assert.deepEqual(changed, {}, 'a refused move changes nothing')
  return null
}

/** What each verb that leads from one status to another changes, for the verbs that are not refused. */
async function movesOf(from: keyof typeof ROWS, to: Status): Promise<Partial<StoredRow>[]> {
  const moved: Partial<StoredRow>[] = []
  for (const verb of VERBS[to]) {
    const changed = await changes(ROWS[from], verb)
    if (changed) moved.push(changed)
  }
  for (const { status = from } of moved) assert.equal(status, to)
  return moved
}

const started = (sql: Sql, given: Partial<{ owner: moves.Owner; retries: number; options: string | null; now: number }>) =>
  starts.moveToStarted(
    sql,
    { ...(given.owner ?? NEXT), retries: given.retries ?? 0 },
    { ...START, options: given.options ?? null },
    given.now ?? DAWN + 5,
  )

describe('a move', () => {
  for (const from of [...STATUSES, 'UPLOADING'] as const) {
    const allowed: readonly Status[] = MOVES[from === 'UPLOADING' ? 'STARTED' : from]
    it(`from ${from} is accepted to ${allowed.join(', ') || 'nothing'}, and refused to the rest`, async () => {
      for (const to of STATUSES) {
        const moved = await movesOf(from, to)
        assert.equal(moved.length > 0, allowed.includes(to), `${from} to ${to}`)
        for (const { finished_at } of moved) assert.equal(finished_at, isFinal(to) ? END.at : undefined)
      }
    })
  }

  it('of a task that has no row is refused', async () => {
    await using w = await openWorld()
    for (const verb of Object.values(VERBS).flat()) assert.equal(await w.database.write(verb), false)
  })
})

describe('the move to STARTED', () => {
  it('sets the owner and the lease, and keeps what the message was published with', async () => {
    assert.deepEqual(await changes(ROWS.PENDING, (sql) => started(sql, { owner: OWNER })), {
      status: 'STARTED',
      worker_id: 'w1',
      deliveries: 1,
      lease_until: LEASE,
      max_retries: 3,
      started_at: DAWN + 5,
      updated_at: DAWN + 5,
    })
  })

  it('of many is accepted for those that have not been started before, and tells which', async () => {
    await using w = await openWorld()
    const rows = [
      { ...ROWS.PENDING, task_id: 'first' },
      { ...ROWS.PENDING, task_id: 'again', deliveries: 1 },
      { ...ROWS.STARTED, task_id: 'lost' },
      { ...ROWS.SUCCESS, task_id: 'ended' },
      { ...ROWS.RETRY, task_id: 'retried', retries: 1 },
    ]
    for (const row of rows) await putRow(w.database, row)
    const owners = [...rows.map(({ task_id }) => task_id), 'none'].map((taskId) => ({ ...OWNER, taskId }))
    const moved = await w.database.write((sql) => starts.moveAllToStarted(sql, owners, START, DAWN + 5))
    assert.deepEqual(moved, [true, false, false, false, false, false])
    const { status, worker_id, deliveries, lease_until, started_at } = await storedRow(w.database, 'first')
    assert.deepEqual([status, worker_id, deliveries, lease_until, started_at], ['STARTED', 'w1', 1, LEASE, DAWN + 5])
  })

  it("counts as the broker's confirmation for a row that still waits for one", async () => {
    const moved = await changes({ ...ROWS.PENDING, published_at: null }, (sql) => started(sql, {}))
    assert.equal(moved?.published_at, DAWN + 5)
  })

  it("is refused while another worker's lease runs, and accepted the moment it has run out", async () => {
    const held = { ...ROWS.STARTED, lease_until: DAWN + 10 }
    assert.equal(await changes(held, (sql) => started(sql, { now: DAWN + 9 })), null)
    assert.equal((await changes(held, (sql) => started(sql, { now: DAWN + 10 })))?.worker_id, 'w2')
  })

  it('is refused to a message left over from before a retry', async () => {
    const waiting = { ...ROWS.RETRY, retries: 1 }
    assert.equal(await changes(waiting, (sql) => started(sql, { retries: 0 })), null)
    assert.notEqual(await changes(waiting, (sql) => started(sql, { retries: 1 })), null)
  })

  it('adds the options that only the worker knows, and else leaves them', async () => {
    const row = { ...ROWS.PENDING, options: '{"headers":{}}' }
    assert.equal((await changes(row, (sql) => started(sql, { options: '{"acksLate":true}' })))?.options, '{"headers":{},"acksLate":true}')
    assert.equal((await changes(row, (sql) => started(sql, {})))?.options, undefined)
  })
})

describe('a delivery of a broker that does not count', () => {
  const count = async (columns: Partial<Columns>, again: boolean, retries = 0) => {
    await using w = await openWorld()
    await putRow(w.database, { task_id: 't', ...columns })
    const owner = { ...NEXT, retries }
    const counted = await w.database.write((sql) => starts.moveToStartedAndCount(sql, owner, START, again, DAWN + 5))
    const { deliveries, worker_id } = await storedRow(w.database, 't')
    assert.equal(deliveries, counted ?? columns.deliveries ?? 0, 'what is not to start is not counted')
    assert.equal(worker_id === NEXT.workerId, counted !== null)
    return counted
  }

  it('is counted on the row that it starts', async () => {
    assert.equal(await count({}, true), 1)
    assert.equal(await count({ deliveries: 2 }, false), 3)
    assert.equal(await count({ ...ROWS.RETRY, retries: 1 }, false, 1), 1)
  })

  it('starts nothing that has ended, runs, waits for its time or was retried since', async () => {
    for (const status of ['SUCCESS', 'FAILURE', 'REVOKED', 'SCHEDULED'] as const) assert.equal(await count(ROWS[status], true), null)
    assert.equal(await count({ ...ROWS.STARTED, lease_until: LEASE }, true), null)
    assert.equal(await count({ ...ROWS.RETRY, retries: 1 }, true), null)
  })

  it('starts again what was started and whose lease has run out, if that is wanted', async () => {
    assert.equal(await count(ROWS.STARTED, true), 2)
    assert.equal(await count(ROWS.STARTED, false), null)
  })
})

describe('the end of an execution', () => {
  const closing: readonly Verb[] = [...VERBS.SUCCESS, ...VERBS.RETRY, (sql) => ends.moveToFailure(sql, OWNER, ERROR, END)]

  it('is told by its owner also after the lease has run out, as long as nobody else took it', async () => {
    for (const end of closing) assert.notEqual(await changes(ROWS.STARTED, end), null)
  })

  it('is not told by another worker, nor by an earlier delivery to the same one', async () => {
    for (const end of closing) {
      assert.equal(await changes({ ...ROWS.STARTED, worker_id: 'w2' }, end), null)
      assert.equal(await changes({ ...ROWS.STARTED, deliveries: 2 }, end), null)
    }
  })

  it('as SUCCESS keeps the result and drops the error of an earlier try', async () => {
    const retried = { ...ROWS.STARTED, error_type: 'FetchError', error_message: 'no', traceback: 'at x' }
    assert.deepEqual(await changes(retried, (sql) => ends.moveToSuccess(sql, OWNER, '{"a":1}', END)), {
      status: 'SUCCESS',
      result: '{"a":1}',
      error_type: null,
      error_message: null,
      traceback: null,
      lease_until: null,
      updated_at: END.at,
      finished_at: END.at,
      result_expires_at: END.resultExpiresAt,
    })
  })

  it('as SUCCESS of many is accepted for those of their owner, each with its own result', async () => {
    await using w = await openWorld()
    for (const taskId of ['a', 'b', 'c'])
      await putRow(w.database, { ...ROWS.STARTED, task_id: taskId, worker_id: taskId === 'b' ? 'w2' : 'w1' })
    const all = ['a', 'b', 'c'].map((taskId) => ({ owner: { ...OWNER, taskId }, result: taskId === 'c' ? null : `"${taskId}"`, end: END }))
    assert.deepEqual(await w.database.write((sql) => ends.moveAllToSuccess(sql, all)), [true, false, true])
    const rows = await Promise.all(['a', 'b', 'c'].map((taskId) => storedRow(w.database, taskId)))
    assert.deepEqual(
      rows.map(({ status, result }) => [status, result]),
      [
        ['SUCCESS', '"a"'],
        ['STARTED', null],
        ['SUCCESS', null],
      ],
    )
  })

  it('as IGNORED drops the error of an earlier try', async () => {
    const retried = { ...ROWS.STARTED, error_type: 'FetchError', error_message: 'no', traceback: 'at x' }
    const moved = await changes(retried, (sql) => ends.moveToIgnored(sql, OWNER, END))
    assert.deepEqual([moved?.error_type, moved?.error_message, moved?.traceback], [null, null, null])
  })

  it('as SUCCESS without a result leaves SQL NULL', async () => {
    const moved = await changes({ ...ROWS.STARTED, result: 'x' }, (sql) => ends.moveToSuccess(sql, OWNER, null, END))
    assert.equal(moved?.result, null)
  })

  it('as FAILURE keeps the error, and for ever where no expiry is given', async () => {
    assert.deepEqual(await changes(ROWS.STARTED, (sql) => ends.moveToFailure(sql, OWNER, ERROR, { at: DAWN + 5, resultExpiresAt: null })), {
      status: 'FAILURE',
      error_type: 'FetchError',
      error_message: 'no',
      traceback: ERROR.traceback,
      lease_until: null,
      updated_at: DAWN + 5,
      finished_at: DAWN + 5,
    })
  })

  it('as RETRY frees the row, which waits with the whole of its arguments', async () => {
    const row = { ...ROWS.STARTED, exchange: 'media', claimed_at: DAWN, args: '["[redacted]"]', options: '{"redacted":["args[0]"]}' }
    assert.deepEqual(await changes(row, (sql) => moves.moveToRetry(sql, OWNER, WAITING, DAWN + 5)), {
      status: 'RETRY',
      retries: 1,
      eta: DAWN + 60_000,
      queue: 'mail',
      exchange: '',
      routing_key: 'mail',
      priority: 3,
      error_type: 'FetchError',
      error_message: 'no',
      traceback: ERROR.traceback,
      ...STORED,
      worker_id: null,
      lease_until: null,
      published_at: null,
      claimed_at: null,
      deliveries: 0,
      updated_at: DAWN + 5,
    })
  })
})

describe('the end of a task that no worker has', () => {
  it("is refused while a worker's lease runs", async () => {
    const held = { ...ROWS.STARTED, lease_until: END.at + 1 }
    assert.equal(await changes(held, (sql) => ends.failUnstarted(sql, 't', ERROR, END)), null)
    assert.equal(await changes(held, (sql) => ends.revokeUnstarted(sql, 't', 'expired', END)), null)
  })

  it('as REVOKED says why', async () => {
    assert.deepEqual(await changes(ROWS.PENDING, (sql) => ends.revokeUnstarted(sql, 't', 'expired', END)), {
      status: 'REVOKED',
      error_type: 'TaskRevokedError',
      error_message: 'expired',
      updated_at: END.at,
      finished_at: END.at,
      result_expires_at: END.resultExpiresAt,
    })
  })
})

describe('the move back to PENDING', () => {
  it('by its owner leaves nobody with the row, and its deliveries counted', async () => {
    const held = { ...ROWS.STARTED, lease_until: LEASE }
    assert.deepEqual(await changes(held, (sql) => moves.moveToPending(sql, OWNER, DAWN + 5)), {
      status: 'PENDING',
      worker_id: null,
      lease_until: null,
      started_at: null,
      updated_at: DAWN + 5,
    })
    assert.equal(await changes(held, (sql) => moves.moveToPending(sql, NEXT, DAWN + 5)), null)
  })
})

describe('the move to SCHEDULED_SENT', () => {
  it('names the task that was sent, and drops the error of an earlier try', async () => {
    const row = { ...ROWS.SCHEDULED, error_type: 'UnsendableRowError', error_message: 'no' }
    assert.deepEqual(await changes(row, (sql) => ends.moveToScheduledSent(sql, 't', 'new', STORED, END)), {
      status: 'SCHEDULED_SENT',
      result: '{"new_task_id":"new"}',
      ...STORED,
      error_type: null,
      error_message: null,
      updated_at: END.at,
      finished_at: END.at,
      result_expires_at: END.resultExpiresAt,
    })
  })

  it('belongs to the claim alone', async () => {
    assert.equal(await changes({ ...ROWS.SCHEDULED, scheduled_id: 'other' }, VERBS.SCHEDULED_SENT[0] as Verb), null)
    assert.equal(await changes({ ...ROWS.SCHEDULED, scheduled_id: null }, VERBS.SCHEDULED_SENT[0] as Verb), null)
  })
})

describe('the lease of a started row', () => {
  it('is moved on by its owner, and nothing else is', async () => {
    const extended = await changes(ROWS.STARTED, (sql) => moves.extendLease(sql, OWNER, LEASE))
    assert.deepEqual(extended, { lease_until: LEASE })
    assert.equal(await changes(ROWS.STARTED, (sql) => moves.extendLease(sql, NEXT, LEASE)), null)
  })

  it("is nobody's once the row waits for a retry or has ended", async () => {
    for (const row of [ROWS.RETRY, ROWS.SUCCESS, ROWS.PENDING]) {
      assert.equal(await changes(row, (sql) => moves.extendLease(sql, OWNER, LEASE)), null)
    }
  })
})

describe('the row of a task whose result nobody wants', () => {
  it('goes with its execution, by its owner only and only while it is open', async () => {
    for (const [row, owner, gone] of [
      [ROWS.STARTED, OWNER, true],
      [ROWS.STARTED, NEXT, false],
      [ROWS.SUCCESS, OWNER, false],
    ] as const) {
      await using w = await openWorld()
      await putRow(w.database, row)
      assert.equal(await w.database.write((sql) => moves.removeOwned(sql, owner)), gone)
      assert.equal((await w.database.all('SELECT 1 FROM task_result', [])).length, gone ? 0 : 1)
    }
  })
})
