import assert from 'node:assert/strict'
import { hostname } from 'node:os'
import { defineTask } from '../../src/lib/app/task.js'
import type { Broker } from '../../src/lib/broker/broker.js'
import { messageOf } from '../../src/lib/ledger/row.js'
import { messageFor, type PublishOptions } from '../../src/lib/publish/request.js'
import { Retry } from '../../src/lib/task/ending.js'
import { SETTABLE_DEFAULTS } from '../../src/lib/task/options.js'
import { itOnSqlBroker } from '../helpers/databases.js'
import { type Death, dieWith } from '../helpers/lives.js'
import { assertMessages, countMessages, takeBack } from '../helpers/messages.js'
import { openOutside } from '../helpers/outside.js'
import { runs, side } from '../helpers/side-effects.js'
import { openSite } from '../helpers/site.js'
import { until } from '../helpers/until.js'
import { gate, working } from '../helpers/working.js'
import { openWorld, type World } from '../helpers/world.js'

const LEASE_MS = 30_000

const rowOf = async (w: World, id: string) => {
  const row = await w.app.tasks.get(id)
  assert.ok(row, `no row for ${id}`)
  return row
}

const kinds = async (w: World, id: string) => ((await w.app.tasks.history(id))?.attempts ?? []).map(({ kind }) => kind)

/** Publishes the message of a recorded task once more, as a broker does that was not told of its confirm. */
const duplicate = async (w: World, id: string) => w.broker.publish([messageOf(await rowOf(w, id))])

const DEATHS: readonly (readonly [Death, typeof itOnSqlBroker])[] = [
  ['before it was started', itOnSqlBroker],
  ['while it ran', it],
]

describe('a running task', () => {
  it('is STARTED under its worker and a lease, and its message is gone: acked early', async () => {
    await using w = await openWorld()
    const door = gate()
    const task = w.app.task('wait', () => door.passed)
    await using here = working(w.app)
    const { id } = await task.delay()
    const row = await until(async () => {
      const found = await rowOf(w, id)
      return found.status === 'STARTED' && found
    }, 'the task to start')

    assert.equal(row.workerId, here.worker.workerId)
    assert.equal(row.deliveries, 1)
    assert.deepEqual(row.startedAt, new Date(w.clock.now()))
    assert.deepEqual(row.leaseUntil, new Date(w.clock.now() + LEASE_MS))
    assert.equal(row.finishedAt, null)
    await assertMessages(w, 0)
    door.open()
    await w.app.result(id).get({ timeout: 10 })
    const { leaseUntil, finishedAt } = await rowOf(w, id)
    assert.deepEqual({ leaseUntil, finishedAt }, { leaseUntil: null, finishedAt: new Date(w.clock.now()) })
  })

  // Celery keeps both in the result of a STARTED task
  it('is found with the process and the machine that run it', async () => {
    await using site = await openSite()
    site.start('worker', '--app', 'test/fixtures/pool-app.mjs')
    const { id } = await site.app.sendTask('hold', [side(site)])
    const { number: pid } = await until(() => runs(site)[0], 'the body to run')
    const { status, workerId } = await rowOf(site, id)
    assert.equal(status, 'STARTED')
    assert.deepEqual(await site.database.all('SELECT host, pid FROM task_worker WHERE worker_id = ?', [workerId]), [
      { host: hostname(), pid },
    ])
  })

  for (const [ending, body, status] of [
    ['succeeds', () => 1, 'SUCCESS'],
    ['fails', () => Promise.reject(new Error('boom')), 'FAILURE'],
  ] as const) {
    it(`with acksLate keeps its message until it ${ending}`, async () => {
      await using w = await openWorld()
      const door = gate()
      const task = w.app.task({ name: 'wait', acksLate: true }, async () => {
        await door.passed
        return body()
      })
      await using _ = working(w.app)
      const result = await task.delay()
      await until(async () => (await result.state()) === 'STARTED', 'the task to start')
      await assertMessages(w, 1)
      door.open()
      await result.get({ timeout: 10, propagate: false })
      assert.equal(await result.state(), status)
      await assertMessages(w, 0)
    })
  }

  it('with acksLate keeps its message until its retry is recorded', async () => {
    await using w = await openWorld()
    const task = w.app.task({ name: 'again', bind: true, acksLate: true }, (task) => task.retry())
    await using _ = working(w.app)
    const result = await task.delay()
    await until(async () => (await result.state()) === 'RETRY', 'the retry')
    await assertMessages(w, 0)
  })

  it('with acksLate that fails is not run again, whether its message is acked or, by acksOnFailureOrTimeout false, rejected', async () => {
    await using w = await openWorld()
    const runs: string[] = []
    const fail = (name: string) => () => {
      runs.push(name)
      throw new Error('boom')
    }
    const acked = w.app.task({ name: 'acked', acksLate: true }, fail('acked'))
    const rejected = w.app.task({ name: 'rejected', acksLate: true, acksOnFailureOrTimeout: false }, fail('rejected'))
    await using _ = working(w.app, { concurrency: 1 })
    for (const task of [acked, rejected]) {
      const result = await task.delay()
      assert.equal(String(await result.get({ timeout: 10, propagate: false })), 'Error: boom')
      await assertMessages(w, 0)
      assert.deepEqual([(await rowOf(w, result.id)).status, await kinds(w, result.id)], ['FAILURE', ['failure']])
    }
    w.clock.advance(LEASE_MS + 1)
    await (await w.app.task('next', () => 1).delay()).get({ timeout: 10 })
    assert.deepEqual(runs, ['acked', 'rejected'])
  })

  it('with acksLate says so on its row, also when its publisher did not know', async () => {
    await using w = await openWorld()
    const result = await w.app.sendTask('late')
    assert.equal((await rowOf(w, result.id)).options.acksLate, undefined)
    w.app.task({ name: 'late', acksLate: true }, () => 1)
    await using _ = working(w.app)
    await result.get({ timeout: 10 })
    assert.equal((await rowOf(w, result.id)).options.acksLate, true)
  })

  it('is not taken for lost, nor given to another worker, however much longer than the lease it takes', async () => {
    await using w = await openWorld({ settings: { lease: 0.3 } })
    const door = gate()
    let runs = 0
    const body = () => {
      runs += 1
      return door.passed
    }
    const early = await w.app.task('early', body).delay()
    const late = await w.app.task({ name: 'late', acksLate: true }, body).delay()
    await using _here = working(w.app)
    await using _there = working(w.app)
    await until(() => runs === 2, 'both tasks to run')
    const renewed = async () => {
      const leases = await w.database.all<{ until: number }>(
        'SELECT lease_until AS until FROM task_result UNION ALL SELECT lease_until FROM task_worker UNION ALL SELECT held_until FROM task_message',
        [],
      )
      return leases.length === (w.carrier ? 4 : 5) && leases.every(({ until }) => until === w.clock.now() + 300)
    }
    for (let passed = 0; passed < 1000; passed += 250) {
      w.clock.advance(250)
      assert.deepEqual(await w.app.tasks.findStale({ reasons: ['lost', 'unclaimed'] }), [])
      await until(renewed, 'every lease to be renewed')
    }
    assert.deepEqual(await w.database.all('SELECT deliveries FROM task_message', []), w.carrier ? [] : [{ deliveries: 1 }])
    door.open()
    await early.get({ timeout: 10 })
    await late.get({ timeout: 10 })
    assert.equal(runs, 2)
    assert.equal((await rowOf(w, late.id)).deliveries, 1)
  })
})

/** Has a broker note what became of each message, by the id of its task. */
const noting =
  (settled: unknown[]) =>
  (broker: Broker): Partial<Broker> => ({
    ack(delivery) {
      settled.push([delivery.message.id, 'ack'])
      return broker.ack(delivery)
    },
    reject(delivery, options) {
      settled.push([delivery.message.id, options])
      return broker.reject(delivery, options)
    },
  })

describe('a late-ack task on an outside broker', () => {
  it('that fails has its message acked or, by acksOnFailureOrTimeout false, rejected for good: what dead-letters it', async () => {
    await using w = await openWorld({ now: Date.now })
    const settled: unknown[] = []
    await using outside = await openOutside(w.url, `sqlite:${w.folder}/messages.db`, noting(settled), LEASE_MS)
    const fail = () => {
      throw new Error('boom')
    }
    const tasks = new Map(
      [true, false].map((acksOnFailureOrTimeout) => {
        const name = acksOnFailureOrTimeout ? 'acked' : 'rejected'
        return [name, defineTask({ name, acksLate: true, acksOnFailureOrTimeout }, fail, SETTABLE_DEFAULTS)] as const
      }),
    )
    const worker = outside.worker(tasks)
    const ended = worker.run()
    const ids: string[] = []
    for (const [at, name] of [...tasks.keys()].entries()) {
      const message = messageFor(name, [], {}, {}, { defaultQueue: 'default', routes: {} }, null, Date.now())
      ids.push(message.id)
      await outside.publisher.publish(message)
      await until(() => settled.length > at, 'the message to be settled')
      assert.equal((await rowOf(w, message.id)).status, 'FAILURE')
      await until(async () => !(await outside.broker.has(message.id)), 'the message to be gone')
    }
    worker.stop()
    await ended
    assert.deepEqual(settled, [
      [ids[0], 'ack'],
      [ids[1], { requeue: false }],
    ])
    assert.deepEqual(outside.errors, [])
  })
})

describe('what no worker can run, on an outside broker', () => {
  it('is rejected for good, which dead-letters it: a task that kills its workers, and one that nobody knows; not one that expired', async () => {
    await using w = await openWorld({ now: Date.now })
    const settled: unknown[] = []
    await using outside = await openOutside(w.url, `sqlite:${w.folder}/messages.db`, noting(settled), LEASE_MS)
    const publish = async (task: string, options: PublishOptions = {}) => {
      const message = messageFor(task, [], {}, options, { defaultQueue: 'default', routes: {} }, null, Date.now())
      await outside.publisher.publish(message)
      return message.id
    }
    const poison = await publish('poison')
    for (let deaths = 1; deaths <= 5; deaths++) assert.equal((await outside.broker.receive(['default'], 1, -1)).length, 1)
    const ids = [poison, await publish('unknown'), await publish('unknown', { expires: 0 })]
    const runs: string[] = []
    const worker = outside.worker(new Map([['poison', defineTask({ name: 'poison' }, () => runs.push('poison'), SETTABLE_DEFAULTS)]]))
    const ended = worker.run()
    await until(() => settled.length === 3, 'the messages to be settled')
    worker.stop()
    await ended
    const rows = await Promise.all(ids.map((id) => rowOf(w, id)))
    assert.deepEqual(
      rows.map(({ status, errorType }) => [status, errorType]),
      [
        ['FAILURE', 'WorkerLostError'],
        ['FAILURE', 'NotRegistered'],
        ['REVOKED', 'TaskRevokedError'],
      ],
    )
    const settledBy = new Map(settled.map((one) => one as [string, unknown]))
    assert.deepEqual(
      ids.map((id) => settledBy.get(id)),
      [{ requeue: false }, { requeue: false }, 'ack'],
    )
    assert.deepEqual(runs, [])
  })
})

describe('a message that is delivered once more', () => {
  for (const acksLate of [false, true]) {
    const mode = acksLate ? 'late' : 'early'
    it(`after its task has ended is acked without running it (acked ${mode})`, async () => {
      await using w = await openWorld()
      let runs = 0
      const task = w.app.task({ name: 'count', acksLate }, () => ++runs)
      await using _ = working(w.app)
      const result = await task.delay()
      await result.get({ timeout: 10 })
      const before = await rowOf(w, result.id)
      await duplicate(w, result.id)
      await until(async () => (await countMessages(w)) === 0, 'the duplicate to be acked')
      assert.equal(runs, 1)
      assert.deepEqual(await rowOf(w, result.id), before)
    })

    it(`while its task runs is acked without running it a second time (acked ${mode})`, async () => {
      let received = 0
      const failpoint = async (point: string) => {
        if (point === 'claim:received') received += 1
      }
      await using w = await openWorld({ failpoint, settings: { lease: 0.3 } })
      const door = gate()
      let runs = 0
      const task = w.app.task({ name: 'count', acksLate }, async () => {
        runs += 1
        await door.passed
      })
      await using _ = working(w.app)
      const result = await task.delay()
      await until(() => runs === 1, 'the task to run')
      await duplicate(w, result.id)
      await until(() => received === 2, 'the duplicate to be received')
      // to RabbitMQ it is the same as a message that comes again because its worker has died: that one is let go in the end
      const kept = Number(acksLate) + Number(acksLate && w.carrier !== null)
      await until(async () => (await countMessages(w)) === kept, 'the duplicate to be acked')
      door.open()
      await result.get({ timeout: 10 })
      w.clock.advance(301)
      await until(async () => (await countMessages(w)) === 0, 'no message to be left')
      assert.equal(runs, 1)
    })
  }

  it('after its task moved on to a retry does not start that retry early', async () => {
    await using w = await openWorld()
    const seen: number[] = []
    const task = w.app.task({ name: 'again', bind: true }, ({ request, retry }) => {
      seen.push(request.retries)
      if (request.retries === 0) retry({ countdown: 60 })
    })
    const result = await task.delay()
    await duplicate(w, result.id)
    {
      await using _ = working(w.app, { concurrency: 1 })
      await until(async () => (await countMessages(w)) === 0, 'both messages to be acked')
      assert.deepEqual(seen, [0])
      assert.equal(await result.state(), 'RETRY')
      w.clock.advance(60_001)
      await result.get({ timeout: 10 })
    }
    assert.deepEqual(seen, [0, 1])
  })

  for (const [death, itThere] of DEATHS) {
    itThere(`because its worker died ${death} runs again, and the row counts its deliveries`, async () => {
      await using w = await openWorld()
      const seen: number[] = []
      const task = w.app.task({ name: 'late', bind: true, acksLate: true }, ({ request }) => {
        seen.push(request.deliveries)
      })
      const result = await task.delay()
      await dieWith(w, death)
      await using _ = working(w.app)
      await result.get({ timeout: 10 })
      assert.deepEqual(seen, [2])
      assert.equal((await rowOf(w, result.id)).deliveries, 2)
    })
  }

  it('while the worker that it is taken from still runs it stays, so that this worker may yet die', async () => {
    let received = 0
    const failpoint = async (point: string) => {
      if (point === 'claim:received') received += 1
    }
    await using w = await openWorld({ failpoint, settings: { lease: 0.3 } })
    const door = gate()
    const task = w.app.task({ name: 'late', acksLate: true }, () => door.passed)
    await using _ = working(w.app, { concurrency: 1 })
    const result = await task.delay()
    await until(async () => (await result.state()) === 'STARTED', 'the task to start')
    await takeBack(w) // while the row's lease lives
    {
      const there = await w.join()
      there.app.task({ name: 'late', acksLate: true }, () => assert.fail('it runs twice'))
      await using other = working(there.app)
      await until(() => received === 2, 'the second worker to receive it')
      other.worker.stop()
      await other.ended
    }
    await assertMessages(w, 1)
    door.open()
    await result.get({ timeout: 10 })
    w.clock.advance(301)
    await until(async () => (await countMessages(w)) === 0, 'the message to be acked, now that its task has ended')
  })

  for (const [death, itThere] of DEATHS) {
    itThere(
      `to more workers than maxDeliveries that died ${death} fails its task as one that kills them, and does not run it`,
      async () => {
        await using w = await openWorld({ settings: { maxDeliveries: 2 } })
        let runs = 0
        const task = w.app.task({ name: 'poison', acksLate: true }, () => ++runs)
        const result = await task.delay()
        await dieWith(w, death)
        await dieWith(w, death)
        await using _ = working(w.app)
        const error = await result.get({ timeout: 10, propagate: false })
        assert.equal(String(error), 'WorkerLostError: delivered 2 times, and no worker lived to finish it')
        assert.equal(await result.state(), 'FAILURE')
        assert.equal(runs, 0)
        await assertMessages(w, 0)
      },
    )
  }
})

describe('an answer that comes after another worker has taken the task over', () => {
  for (const [what, answer, line] of [
    ['a result', () => ['late'], { errorType: 'LateResult', errorMessage: '["late"]' }],
    ['an error', () => Promise.reject(new RangeError('late')), { errorType: 'RangeError', errorMessage: 'late' }],
    ['a retry', () => Promise.reject(new Retry(0, new RangeError('again'))), { errorType: 'RangeError', errorMessage: 'again' }],
  ] as const) {
    it(`is kept as a line of history and changes nothing: ${what}`, async () => {
      await using w = await openWorld()
      const door = gate()
      const task = w.app.task({ name: 'late', bind: true, acksLate: true }, async ({ request }): Promise<unknown> => {
        if (request.deliveries > 1) return 'in time'
        await door.passed
        return answer()
      })
      await using silent = working(w.app, { concurrency: 1 })
      const result = await task.delay()
      await until(async () => (await result.state()) === 'STARTED', 'the task to start')
      await takeBack(w)
      w.clock.advance(LEASE_MS + 1) // right before another looks: a beat would renew the lease
      await using _ = working(w.app)
      assert.equal(await result.get({ timeout: 10 }), 'in time')
      const before = await rowOf(w, result.id)
      door.open()
      await until(async () => (await kinds(w, result.id)).length > 0, 'the late answer')

      assert.deepEqual(await rowOf(w, result.id), before)
      const [attempt] = (await w.app.tasks.history(result.id))?.attempts ?? []
      const { errorType, errorMessage } = attempt ?? {}
      assert.deepEqual({ errorType, errorMessage }, line)
      assert.equal(attempt?.kind, 'late-result')
      assert.equal(attempt?.workerId, silent.worker.workerId)
    })
  }

  it('does not end the run of the one that has it now', async () => {
    await using w = await openWorld()
    const doors = [gate(), gate()]
    const task = w.app.task({ name: 'late', bind: true, acksLate: true }, async ({ request }) => {
      await doors[request.deliveries - 1]?.passed
      return request.deliveries
    })
    await using _silent = working(w.app, { concurrency: 1 })
    const result = await task.delay()
    await until(async () => (await result.state()) === 'STARTED', 'the task to start')
    await takeBack(w)
    w.clock.advance(LEASE_MS + 1)
    await using second = working(w.app, { concurrency: 1 })
    await until(async () => (await rowOf(w, result.id)).workerId === second.worker.workerId, 'the second worker to take over')
    doors[0]?.open()
    await until(async () => (await kinds(w, result.id)).length > 0, 'the late answer')
    assert.equal(await result.state(), 'STARTED')
    await assertMessages(w, 1)
    doors[1]?.open()
    assert.equal(await result.get({ timeout: 10 }), 2)
  })
})
