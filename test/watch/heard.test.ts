import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { TaskEvent } from '../../src/lib/celery/events.js'
import { attemptsOf } from '../../src/lib/ledger/attempts.js'
import { findExpired } from '../../src/lib/ledger/expired.js'
import { findTask } from '../../src/lib/ledger/find.js'
import { findRescuable } from '../../src/lib/ledger/lost.js'
import { moveToRetry } from '../../src/lib/ledger/moves.js'
import { messageOf } from '../../src/lib/ledger/row.js'
import { findStale } from '../../src/lib/ledger/stale.js'
import { moveToStarted } from '../../src/lib/ledger/starts.js'
import { beatSession, beginSession } from '../../src/lib/watch/session.js'
import { A, B, events, failed, LIVES, received, retried, sent, started, succeeded } from '../helpers/celery-events.js'
import { assertFinalIsFinal, watchFinalRows } from '../helpers/final-rows.js'
import { aMessage, type Columns, putRow, storedRow } from '../helpers/rows.js'
import { as, CLUSTER, LEASE_MS, see } from '../helpers/watching.js'
import { openStage } from '../helpers/workflows.js'
import { DAWN, openWorld, type World } from '../helpers/world.js'

/** What the clocks of workers show when ours shows DAWN. */
const T = DAWN / 1000

/** A row as its publisher wrote it, with all that events tell otherwise. */
const OWN: Columns = {
  task_id: 'id-1',
  task: 'py.add',
  args: '[1,{"whole":true}]',
  kwargs: '{"n":1}',
  queue: 'python',
  routing_key: 'python',
  priority: 3,
  expires: DAWN + 900_000,
  root_id: 'root',
  parent_id: 'parent',
  group_id: 'group',
  group_index: 2,
  options: '{"headers":{"tenant":"acme"},"link":[],"resultExpires":30}',
  submitted_at: DAWN - 5000,
  published_at: DAWN - 4000,
  updated_at: DAWN - 4000,
}

const revoked = (at: number, given: object = {}) =>
  ['task-revoked', at, A, { terminated: false, signum: null, expired: false, ...given }] as const

const rowOf = async ({ database }: Pick<World, 'database'>, taskId = 'id-1') => {
  const row = await findTask(database, taskId)
  assert.ok(row)
  return row
}

describe('the row of a task that was published here and that a Celery worker runs', () => {
  it('takes its life from the events, and keeps what its publisher knows better', async () => {
    await using w = await openWorld()
    await putRow(w.database, OWN)
    const { id: _, ...before } = await storedRow(w.database, 'id-1')
    const options = { ...JSON.parse(before.options), heardFrom: CLUSTER }
    const left = async () => {
      const { id: __, ...row } = await storedRow(w.database, 'id-1')
      return { ...row, options: JSON.parse(row.options) }
    }
    assert.equal(await see(w, events(received(T - 3), started(T - 2))), 'changed')
    const running = {
      ...before,
      status: 'STARTED',
      worker_id: A,
      lease_until: DAWN + LEASE_MS,
      started_at: DAWN - 2000,
      updated_at: DAWN - 2000,
    }
    assert.deepEqual(await left(), { ...running, options: { ...options, received: { host: A, at: DAWN - 3000 } } })
    assert.equal(await see(w, events(succeeded(T - 1))), 'changed')
    const end = { status: 'SUCCESS', result: '4', lease_until: null, updated_at: DAWN - 1000, finished_at: DAWN - 1000 }
    assert.deepEqual(await left(), { ...running, ...end, result_expires_at: DAWN + 29_000, options })
    assert.deepEqual(await attemptsOf(w.database, 'id-1'), [])
  })

  const moves: Readonly<Record<string, readonly [TaskEvent[], Partial<Columns>, readonly string[]]>> = {
    'RETRY, one more in retries': [
      events(received(1), started(2), retried(3)),
      { status: 'RETRY', retries: 1, error_type: 'ConnectionError', worker_id: null, lease_until: null },
      ['retry ConnectionError'],
    ],
    'STARTED again after it': [
      events(received(1), started(2), retried(3), received(4, 1), started(5, A)),
      { status: 'STARTED', retries: 1, worker_id: A },
      ['retry ConnectionError'],
    ],
    FAILURE: [
      events(received(1), started(2), failed(3)),
      { status: 'FAILURE', error_type: 'ValueError', error_message: 'boom', traceback: 'Traceback', finished_at: 3000 },
      ['failure ValueError'],
    ],
    'FAILURE of a task that the worker does not know': [
      events(['task-failed', 3, A, { exception: "NotRegistered('py.add')" }]),
      { status: 'FAILURE', error_type: 'NotRegistered', error_message: 'py.add', task: 'py.add' },
      ['failure NotRegistered'],
    ],
    'FAILURE of what it rejected': [
      events(received(1), started(2), ['task-rejected', 3, A, { requeue: false }]),
      { status: 'FAILURE', error_type: 'Reject' },
      ['rejected Reject'],
    ],
    'PENDING again when it gives the message back': [
      events(received(1), started(2), ['task-rejected', 3, A, { requeue: true }]),
      { status: 'PENDING', worker_id: null, lease_until: null },
      ['rejected Reject'],
    ],
    'PENDING again when the message comes to another worker': [
      events(received(1), started(2), received(3, 0, B)),
      { status: 'PENDING', worker_id: null, lease_until: null },
      [],
    ],
    'REVOKED when it has expired': [events(revoked(3, { expired: true })), { status: 'REVOKED', error_message: 'expired' }, []],
    'REVOKED when it was stopped': [
      events(received(1), started(2), revoked(3, { terminated: true })),
      { status: 'REVOKED', error_type: 'TaskRevokedError', error_message: 'terminated', finished_at: 3000 },
      [],
    ],
  }
  for (const [name, [told, columns, history]] of Object.entries(moves)) {
    it(`becomes ${name}`, async () => {
      await using w = await openWorld()
      await putRow(w.database, { ...OWN, updated_at: 0 })
      await see(w, told)
      const row = await storedRow(w.database, 'id-1')
      assert.deepEqual(Object.fromEntries(Object.keys(columns).map((key) => [key, row[key as keyof typeof row]])), columns)
      const lines = (await attemptsOf(w.database, 'id-1')).map(({ kind, errorType }) => `${kind} ${errorType}`)
      assert.deepEqual(lines, history)
    })
  }

  it('is the same, whether events come together or one by one, once or again and again', async () => {
    await using w = await openWorld()
    await watchFinalRows(w.database)
    const left = async (id: string) => {
      const { id: _, task_id: __, ...row } = await storedRow(w.database, id)
      const history = (await attemptsOf(w.database, id)).map(({ at, kind, workerId }) => ({ at, kind, workerId }))
      return { ...row, options: JSON.parse(row.options), history: history.sort((a, b) => a.at.getTime() - b.at.getTime()) }
    }
    let n = 0
    for (const [name, [given]] of Object.entries(LIVES)) {
      const life = events(...given)
      const whole = `whole-${++n}`
      await putRow(w.database, { ...OWN, task_id: whole, group_id: null, updated_at: 0 })
      await see(w, as(whole, life))
      const split = async (at: readonly number[], repeat: boolean) => {
        const id = `split-${++n}`
        await putRow(w.database, { ...OWN, task_id: id, group_id: null, updated_at: 0 })
        const bits = [0, ...at].map((from, i) => as(id, life).slice(from, at[i] ?? life.length))
        for (const bit of bits) for (let times = repeat ? 2 : 1; times > 0; times--) await see(w, bit)
        assert.deepEqual(await left(id), await left(whole), `${name}, split at ${at}`)
      }
      await fc.assert(fc.asyncProperty(fc.subarray(life.map((_, i) => i).slice(1)), fc.boolean(), split), { numRuns: 10 })
    }
    await assertFinalIsFinal(w.database)
  })

  const others: Readonly<Record<string, Partial<Columns>>> = {
    'has ended': { status: 'REVOKED', finished_at: DAWN },
    'is scheduled': { status: 'SCHEDULED', published_at: null, eta: DAWN + 1000 },
    'one of our own workers has': { status: 'STARTED', worker_id: 'ours', lease_until: DAWN + 1000, deliveries: 1 },
    'one of our own workers gave back': { deliveries: 1 },
    'waits here for a retry': { status: 'RETRY', retries: 1, published_at: null, eta: DAWN + 1000 },
  }
  for (const [name, given] of Object.entries(others)) {
    it(`is never one that ${name}`, async () => {
      await using w = await openWorld()
      await putRow(w.database, { ...OWN, ...given })
      const before = await storedRow(w.database, 'id-1')
      for (const end of [succeeded(4), failed(4), revoked(4), retried(4)]) {
        assert.equal(await see(w, events(sent(1), received(2), started(3), end)), 'ours')
        assert.deepEqual([await storedRow(w.database, 'id-1'), await attemptsOf(w.database, 'id-1')], [before, []])
      }
    })
  }

  it('is our own worker’s from the moment that takes the task, through its retry; a retry that a Celery worker gets is that’s', async () => {
    await using w = await openWorld()
    await putRow(w.database, { ...OWN, group_id: null })
    await see(w, events(received(2)))
    const owner = { taskId: 'id-1', workerId: 'ours', deliveries: 1, retries: 0 }
    assert.ok(
      await w.database.write((sql) => moveToStarted(sql, owner, { leaseUntil: DAWN + 1, maxRetries: 3, options: null, track: true }, DAWN)),
    )
    assert.equal(await see(w, events(started(3), succeeded(9))), 'ours')
    const waiting = { retries: 1, eta: DAWN, error: null, stored: { args: '[]', kwargs: '{}', options: '{}' }, queue: 'q', priority: 0 }
    assert.ok(await w.database.write((sql) => moveToRetry(sql, owner, waiting, DAWN)))
    assert.equal(await see(w, events(received(2), started(3), succeeded(9))), 'ours')
    assert.equal((await rowOf(w)).status, 'RETRY')
    assert.equal(await see(w, events(received(10, 1), started(11))), 'changed')
    assert.deepEqual([(await rowOf(w)).status, (await rowOf(w)).retries], ['STARTED', 1])
  })

  it('is lost, rescued and revoked as any other once a worker of ours has it', async () => {
    await using w = await openWorld()
    await w.database.write((sql) => beginSession(sql, CLUSTER, DAWN - LEASE_MS, DAWN - LEASE_MS))
    await putRow(w.database, { ...OWN, group_id: null, options: '{"onWorkerLost":"retry"}' })
    await see(w, events(received(T - 2)))
    const owner = { taskId: 'id-1', workerId: 'ours', deliveries: 1, retries: 0 }
    assert.ok(
      await w.database.write((sql) => moveToStarted(sql, owner, { leaseUntil: DAWN + 1, maxRetries: 3, options: null, track: true }, DAWN)),
    )
    const [refused] = await w.app.tasks.revoke(['id-1'])
    assert.equal(refused?.error, 'worker ours is running it; --terminate stops it')
    const [stale] = await findStale(w.database, { cutoff: DAWN + 1, now: DAWN + 1, limit: 100 })
    assert.equal(stale?.reason, 'lost')
    assert.equal((await findRescuable(w.database, DAWN + 1, 10)).length, 1)
  })

  it('is not started by a worker of ours while Celery’s has it', async () => {
    await using w = await openWorld()
    await putRow(w.database, OWN)
    await see(w, events(received(T - 2), started(T - 1)))
    const owner = { taskId: 'id-1', workerId: 'ours', deliveries: 1, retries: 0 }
    assert.equal(
      await w.database.write((sql) => moveToStarted(sql, owner, { leaseUntil: DAWN + 1, maxRetries: 3, options: null, track: true }, DAWN)),
      false,
    )
  })

  it('counts as published once a worker has it, and then holds nothing that the ledger must not keep', async () => {
    await using w = await openStage({ broker: 'outside', now: () => DAWN })
    const secret = [{ kind: 'task', task: 't', args: [], kwargs: { token: 's3cret' }, options: {}, immutable: false }]
    const own = { ...OWN, group_id: null, kwargs: '{"token":"s3cret"}', options: JSON.stringify({ chain: secret }) }
    await putRow(w.database, { ...own, published_at: null })
    assert.equal(await see(w, events(sent(T - 3)), { redact: ['kwargs.token'] }), 'ours')
    assert.equal((await rowOf(w)).publishedAt, null)
    await see(w, events(received(T - 2), started(T - 1)), { redact: ['kwargs.token'] })
    const row = await rowOf(w)
    assert.deepEqual([row.publishedAt?.getTime(), row.kwargs, row.status], [DAWN, { token: '[redacted]' }, 'STARTED'])
    assert.ok(!JSON.stringify(await w.database.all('SELECT * FROM task_result', [])).includes('s3cret'))
    assert.deepEqual(await w.sender.sendDue(10, () => {}, 0), [])
  })

  it('shows a result that cannot be read back, says so, and is still one that can be sent again', async () => {
    await using w = await openWorld()
    await putRow(w.database, { ...OWN, group_id: null })
    await see(w, events(['task-succeeded', 2, A, { result: '<User: Ada>' }]))
    const row = await rowOf(w)
    assert.deepEqual([row.result, row.options.unreadable], [{ repr: '<User: Ada>' }, ['result']])
    assert.deepEqual(messageOf(row), messageOf({ ...row, options: JSON.parse(OWN.options ?? '') }))
    assert.deepEqual(await w.app.result('id-1').get(), { repr: '<User: Ada>' })
  })

  it('has no result when its publisher wanted none', async () => {
    await using w = await openWorld()
    await putRow(w.database, { ...OWN, group_id: null, options: '{"ignoreResult":true}' })
    await see(w, events(succeeded(2)))
    assert.deepEqual([(await rowOf(w)).status, (await rowOf(w)).result], ['SUCCESS', null])
  })

  it('is unclaimed, stuck or lost, as one that was only watched, also when its own program acks late', async () => {
    await using w = await openWorld()
    const reason = async () => {
      const [stale] = await findStale(w.database, { cutoff: w.clock.now(), now: w.clock.now(), limit: 100 })
      return stale?.reason
    }
    await putRow(w.database, { ...OWN, options: '{"acksLate":true}' })
    await w.database.write((sql) => beginSession(sql, CLUSTER, DAWN + LEASE_MS, DAWN))
    assert.equal(await reason(), 'unclaimed')
    await see(w, events(received(T - 2)))
    assert.equal(await reason(), 'unclaimed')
    await see(w, events(started(T - 1)))
    assert.equal(await reason(), 'stuck')
    w.clock.advance(LEASE_MS)
    assert.equal(await reason(), 'stuck') // since nobody has watched meanwhile
    await w.database.write((sql) => beatSession(sql, CLUSTER, w.clock.now() + LEASE_MS, w.clock.now()))
    assert.equal(await reason(), 'lost')
    await w.database.write((sql) => beginSession(sql, CLUSTER, w.clock.now() + LEASE_MS, w.clock.now()))
    w.clock.advance(1)
    assert.equal(await reason(), 'lost')
    await see(w, events(received(T + 31, 0, B)))
    assert.equal(await reason(), 'unclaimed')
  })

  it('is not revoked by our sender once Celery has started it, however long ago; before that it is', async () => {
    await using w = await openWorld()
    await putRow(w.database, { ...OWN, expires: DAWN + 1 })
    await putRow(w.database, { ...OWN, task_id: 'waits', expires: DAWN + 1 })
    await see(w, events(received(T - 2), started(T - 1)))
    await see(w, as('waits', events(received(T - 2))))
    const found = await findExpired(w.database, DAWN + 100 * LEASE_MS, 10)
    assert.deepEqual(
      found.map(({ taskId }) => taskId),
      ['waits'],
    )
  })

  it('is not settled by a worker of ours as one that it lost', async () => {
    await using w = await openWorld()
    await putRow(w.database, { ...OWN, options: '{"onWorkerLost":"retry"}' })
    await see(w, events(received(T - 2), started(T - 1)))
    assert.deepEqual(await findRescuable(w.database, DAWN + 100 * LEASE_MS, 10), [])
  })

  it('is revoked by an operator’s word, and then stays so whatever Celery goes on to tell', async () => {
    await using w = await openWorld()
    await putRow(w.database, { ...OWN, group_id: null })
    await see(w, events(received(T - 2), started(T - 1)))
    const [refused] = await w.app.tasks.revoke(['id-1'])
    assert.deepEqual([refused?.revoked, refused?.error], [false, `Celery's worker ${A} is running it: celery control terminate TERM id-1`])
    const [done] = await w.app.tasks.revoke(['id-1'], { terminate: true })
    assert.equal(done?.revoked, true)
    assert.equal(await see(w, events(succeeded(T))), 'ours')
    assert.equal((await rowOf(w)).status, 'REVOKED')
  })

  it('is sent again when it has failed, as it was published; an open one only while it is watched', async () => {
    await using w = await openStage({ broker: 'outside', now: () => DAWN })
    await w.publisher.publish(aMessage({ id: 'bad', args: [{ n: 1 }], options: { headers: { a: 1 } } }))
    await see(w, as('bad', events(received(T - 2), started(T - 1), failed(T))))
    const [sentAgain] = await w.app.tasks.retry({ ids: ['bad'] })
    const copy = await rowOf(w, sentAgain?.newTaskId ?? '')
    assert.deepEqual([copy.args, copy.options, copy.retryOf], [[{ n: 1 }], { headers: { a: 1 } }, 'bad'])

    await w.publisher.publish(aMessage({ id: 'open' }))
    await see(w, as('open', events(received(T - 2), started(T - 1))), { now: DAWN - 2 * LEASE_MS })
    const [refused] = await w.app.tasks.retry({ ids: ['open'] })
    assert.match(refused?.error ?? '', /was not watched all the time since: it may have ended; --force sends it/)
  })
})
