import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { TaskEvent } from '../../src/lib/celery/events.js'
import { attemptsOf } from '../../src/lib/ledger/attempts.js'
import { moveToSuccess } from '../../src/lib/ledger/ends.js'
import { findExpired } from '../../src/lib/ledger/expired.js'
import { findTask } from '../../src/lib/ledger/find.js'
import { moveToRetry } from '../../src/lib/ledger/moves.js'
import { messageOf } from '../../src/lib/ledger/row.js'
import { moveToStarted } from '../../src/lib/ledger/starts.js'
import { A, B, call, events, failed, LIVES, received, retried, sent, started, succeeded } from '../helpers/celery-events.js'
import { assertFinalIsFinal, watchFinalRows } from '../helpers/final-rows.js'
import { storedRow } from '../helpers/rows.js'
import { CLUSTER, see } from '../helpers/watching.js'
import { DAWN, openWorld, type World } from '../helpers/world.js'

const rowOf = async (w: World, taskId = 'id-1') => {
  const row = await findTask(w.database, taskId)
  assert.ok(row)
  return row
}

/** The row without its number, and its history without theirs. */
async function left(w: World, taskId: string) {
  const { id: _, task_id: __, root_id: ___, ...row } = await storedRow(w.database, taskId)
  const history = (await attemptsOf(w.database, taskId)).map(({ at, kind, workerId, errorType }) => ({ at, kind, workerId, errorType }))
  return { ...row, options: JSON.parse(row.options), history: history.sort((a, b) => a.at.getTime() - b.at.getTime()) }
}

describe('the row of a watched task', () => {
  it('holds what its events told', async () => {
    await using w = await openWorld()
    assert.equal(await see(w, events(sent(1), received(2), started(3), succeeded(4))), 'recorded')
    const { id: _, ...row } = await storedRow(w.database, 'id-1')
    assert.deepEqual(row, {
      task_id: 'id-1',
      task: 'tasks.add',
      args: '[2,2]',
      kwargs: '{}',
      status: 'SUCCESS',
      result: '4',
      error_type: null,
      error_message: null,
      traceback: null,
      queue: 'sums',
      exchange: '',
      routing_key: 'sums',
      priority: 0,
      eta: null,
      expires: null,
      retries: 0,
      max_retries: null,
      deliveries: 0,
      worker_id: A,
      lease_until: null,
      scheduled_id: null,
      parent_id: null,
      root_id: 'id-1',
      group_id: null,
      group_index: null,
      retry_of: null,
      periodic_name: null,
      options: JSON.stringify({ watched: CLUSTER }),
      meta: null,
      submitted_at: 1000,
      published_at: 1000,
      claimed_at: null,
      started_at: 3000,
      updated_at: 4000,
      finished_at: 4000,
      result_expires_at: 64_000,
    })
  })

  it('is the same, whether events come together or one by one, once or again and again', async () => {
    await using w = await openWorld()
    await watchFinalRows(w.database)
    let n = 0
    for (const [name, [given]] of Object.entries(LIVES)) {
      const life = events(...given)
      const as = (id: string) => life.map((event): TaskEvent => ({ ...event, id }))
      const whole = `whole-${++n}`
      await see(w, as(whole))
      const cuts = fc.subarray(life.map((_, i) => i).slice(1))
      const split = async (at: readonly number[], repeat: boolean) => {
        const id = `split-${++n}`
        const bits = [0, ...at].map((from, i) => as(id).slice(from, at[i] ?? life.length))
        for (const bit of bits) for (let times = repeat ? 2 : 1; times > 0; times--) await see(w, bit)
        assert.deepEqual(await left(w, id), await left(w, whole), `${name}, split at ${at}`)
      }
      await fc.assert(fc.asyncProperty(cuts, fc.boolean(), split), { numRuns: 10 })
    }
    await assertFinalIsFinal(w.database)
  })

  it('once it has ended, is never changed by an event', async () => {
    await using w = await openWorld()
    for (const end of [succeeded(4), failed(4), ['task-revoked', 4, A, {}] as const]) {
      const id = `ended-${end[0]}`
      const as = (of: TaskEvent[]) => of.map((event): TaskEvent => ({ ...event, id }))
      await see(w, as(events(received(2), started(3), end)))
      const before = await storedRow(w.database, id)
      for (const late of [sent(1), received(5, 1), started(6), failed(7, B), succeeded(8, B), retried(9)]) {
        assert.equal(await see(w, as(events(late))), 'known')
        assert.deepEqual(await storedRow(w.database, id), before, late[0])
      }
    }
  })

  it('is our own worker’s from the moment that takes the task, through its retry to its end', async () => {
    await using w = await openWorld()
    await see(w, events(sent(1)))
    const owner = { taskId: 'id-1', workerId: 'ours', deliveries: 1, retries: 0 }
    const untouched = async () => {
      const before = await storedRow(w.database, 'id-1')
      assert.equal(await see(w, events(received(2), started(3), succeeded(9))), 'ours')
      assert.deepEqual(await storedRow(w.database, 'id-1'), before)
    }
    assert.ok(
      await w.database.write((sql) => moveToStarted(sql, owner, { leaseUntil: DAWN + 1, maxRetries: 3, options: null, track: true }, DAWN)),
    )
    await untouched()
    const stored = { args: '[]', kwargs: '{}', options: '{}' }
    const waiting = { retries: 1, eta: DAWN, error: null, stored, queue: 'q', priority: 0 }
    assert.ok(await w.database.write((sql) => moveToRetry(sql, owner, waiting, DAWN)))
    await untouched()
    const again = { ...owner, retries: 1 }
    assert.ok(
      await w.database.write((sql) => moveToStarted(sql, again, { leaseUntil: DAWN + 1, maxRetries: 3, options: null, track: true }, DAWN)),
    )
    assert.ok(await w.database.write((sql) => moveToSuccess(sql, again, '4', { at: DAWN, resultExpiresAt: null })))
    await untouched()
  })

  it('waits a moment for its name, and with its end for its queue', async () => {
    await using w = await openWorld()
    const patient = { patient: true }
    assert.equal(await see(w, events(started(3)), patient), 'early')
    assert.equal(await see(w, events(received(2), started(3), succeeded(4)), patient), 'early')
    assert.equal(await findTask(w.database, 'id-1'), null)
    assert.equal(await see(w, events(received(2), started(3)), patient), 'recorded')
    assert.equal(await see(w, events(succeeded(4)), patient), 'early')
    assert.equal(await see(w, events(sent(1), succeeded(4)), patient), 'changed')
    assert.deepEqual([(await rowOf(w)).status, (await rowOf(w)).queue], ['SUCCESS', 'sums'])
  })

  it('of a task whose beginning nobody watched has neither name nor arguments', async () => {
    await using w = await openWorld()
    await see(w, events(started(3)))
    const { task, args, kwargs, status, queue, options } = await rowOf(w)
    assert.deepEqual([task, args, kwargs, status, queue], ['(unknown)', { repr: null }, { repr: null }, 'STARTED', ''])
    assert.deepEqual(options.unreadable, ['args', 'kwargs'])
    await see(w, events(received(2)))
    assert.deepEqual([(await rowOf(w)).task, (await rowOf(w)).args, (await rowOf(w)).options.unreadable], ['tasks.add', [2, 2], undefined])
  })

  it('shows what cannot be read back, and says so when it is to be sent again', async () => {
    await using w = await openWorld()
    await see(w, events(sent(1, 0, 'gen', '(<User: Ada>,)'), ['task-succeeded', 2, A, { result: '{1, 2}' }]))
    const row = await rowOf(w)
    assert.deepEqual([row.args, row.kwargs, row.result], [{ repr: '(<User: Ada>,)' }, {}, { repr: '{1, 2}' }])
    assert.deepEqual(row.options.unreadable, ['args', 'result'])
    assert.throws(() => messageOf(row), /its args cannot be told exactly/)
    await see(
      w,
      events(sent(1)).map((event): TaskEvent => ({ ...event, id: 'readable' })),
    )
    await see(
      w,
      events(['task-succeeded', 2, A, { result: '<object>' }]).map((event): TaskEvent => ({ ...event, id: 'readable' })),
    )
    assert.deepEqual(messageOf(await rowOf(w, 'readable')).args, [2, 2])
  })

  it('holds nothing that the ledger must not keep, not even in a text that cannot be read', async () => {
    await using w = await openWorld()
    const redact = ['kwargs.token']
    const kwargs = { ...call(0), kwargs: "{'token': 's3cret', 'n': 1}" }
    await see(w, events(['task-received', 1, A, kwargs]), { redact })
    assert.deepEqual([(await rowOf(w)).kwargs, (await rowOf(w)).options.redacted], [{ token: '[redacted]', n: 1 }, redact])
    await see(w, events(started(2)), { redact })
    const row = await rowOf(w)
    assert.throws(() => messageOf(row), /its arguments are redacted \(kwargs.token\)/)
    const cut = { ...call(0), kwargs: "{'token': 's3cret', 'n': <object>}" }
    await see(
      w,
      events(['task-received', 1, A, cut]).map((event): TaskEvent => ({ ...event, id: 'cut' })),
      { redact },
    )
    assert.deepEqual((await rowOf(w, 'cut')).kwargs, { repr: '[redacted]' })
    assert.ok(!JSON.stringify(await w.database.all('SELECT * FROM task_result', [])).includes('s3cret'))
  })

  it('keeps the result as long as the app keeps results, and is never later than the ledger’s own clock', async () => {
    await using w = await openWorld()
    await see(w, events(received(1), started(2), succeeded(90)), { now: 50_000 })
    const row = await rowOf(w)
    assert.deepEqual([row.updatedAt, row.finishedAt, row.resultExpiresAt].map(Number), [50_000, 50_000, 110_000])
  })

  it('is not revoked by our sender when it expires: that is for Celery to do', async () => {
    await using w = await openWorld()
    await see(w, events(['task-received', 1, A, { ...call(0), expires: '1970-01-01T00:00:02' }]))
    assert.equal(Number((await rowOf(w)).expires), 2000)
    assert.deepEqual(await findExpired(w.database, DAWN, 10), [])
  })

  it('is not revoked by an operator’s word to the ledger, which no worker of Celery’s hears', async () => {
    await using w = await openWorld()
    await see(w, events(received(1), started(2)))
    const [revoked] = await w.app.tasks.revoke(['id-1'], { terminate: true })
    assert.deepEqual([revoked?.revoked, revoked?.error], [false, "it is a task of Celery's: celery control revoke id-1"])
    assert.equal((await rowOf(w)).status, 'STARTED')
  })
})
