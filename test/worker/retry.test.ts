import assert from 'node:assert/strict'
import { defineTask, type TaskOptions } from '../../src/lib/app/task.js'
import type { TaskDefinition } from '../../src/lib/task/definition.js'
import { SETTABLE_DEFAULTS } from '../../src/lib/task/options.js'
import type { RetryOptions } from '../../src/lib/task/retry-policy.js'
import { AsyncPool } from '../../src/lib/worker/pool/async-pool.js'
import { Worker } from '../../src/lib/worker/worker.js'
import { assertMessages } from '../helpers/messages.js'
import { until } from '../helpers/until.js'
import { working } from '../helpers/working.js'
import { openWorld, type World } from '../helpers/world.js'

const SOON = { timeout: 10 } as const
const UNTHROWN = { timeout: 10, propagate: false } as const

class BadGateway extends Error {
  override readonly name: string = 'BadGateway'
}
class NotFound extends BadGateway {
  override readonly name = 'NotFound'
}

const rowOf = async (w: World, id: string) => (await w.app.tasks.get(id)) ?? assert.fail(`no row for ${id}`)
const historyOf = async (w: World, id: string) => (await w.app.tasks.history(id)) ?? assert.fail(`no row for ${id}`)

/** Seconds from now until the retry that `id` waits for, once it waits for number `retries`. */
async function delayOf(w: World, id: string, retries: number): Promise<number> {
  const row = await until(async () => {
    const found = await rowOf(w, id)
    return found.status === 'RETRY' && found.retries === retries && found
  }, `retry ${retries}`)
  return ((row.eta?.getTime() ?? 0) - w.clock.now()) / 1000
}

/** The delays before each retry of a task that fails until it is given up, as its row tells them; time is moved on past each. */
async function delaysOf(w: World, id: string, retries: number): Promise<number[]> {
  const delays: number[] = []
  for (let n = 1; n <= retries; n++) {
    const delay = await delayOf(w, id, n)
    delays.push(delay)
    w.clock.advance(delay * 1000 + 1)
  }
  return delays
}

describe('task.retry()', () => {
  it('has the task run again under the same id, on the same queue, not before its countdown', async () => {
    await using w = await openWorld()
    const task = w.app.task({ name: 'again', bind: true }, ({ request, retry }) => {
      if (request.retries === 0) retry({ countdown: 0.2, error: new BadGateway('502') })
      return request.retries
    })
    await using _ = working(w.app, { queues: ['mail'] })
    const result = await task.applyAsync([], { queue: 'mail', priority: 3, headers: { h: 1 } })
    assert.equal(await delayOf(w, result.id, 1), 0.2)
    const waiting = await rowOf(w, result.id)
    assert.deepEqual([waiting.queue, waiting.priority, waiting.options.headers], ['mail', 3, { h: 1 }])
    assert.deepEqual([waiting.publishedAt, waiting.finishedAt, waiting.workerId, waiting.leaseUntil], [null, null, null, null])
    assert.deepEqual([waiting.errorType, waiting.errorMessage], ['BadGateway', '502'])
    await assertMessages(w, 0)

    w.clock.advance(200) // due at this very instant, and not sent: not before means after
    assert.deepEqual(await w.app.tasks.sendScheduled(), [])
    w.clock.advance(1)
    assert.equal(await result.get(SOON), 1)
    const { retries, errorType, traceback } = await rowOf(w, result.id)
    assert.deepEqual({ retries, errorType, traceback }, { retries: 1, errorType: null, traceback: null })
  })

  it('waits the defaultRetryDelay when it names no time: 180 s unless the task says otherwise', async () => {
    await using w = await openWorld()
    const plain = w.app.task({ name: 'plain', bind: true }, ({ retry }) => retry())
    const own = w.app.task({ name: 'own', bind: true, defaultRetryDelay: 7 }, ({ retry }) => retry())
    await using _ = working(w.app)
    assert.equal(await delayOf(w, (await plain.delay()).id, 1), 180)
    assert.equal(await delayOf(w, (await own.delay()).id, 1), 7)
  })

  it('takes an eta instead', async () => {
    await using w = await openWorld()
    const task = w.app.task({ name: 'again', bind: true }, ({ retry }) => retry({ eta: new Date(w.clock.now() + 42_000) }))
    await using _ = working(w.app)
    assert.equal(await delayOf(w, (await task.delay()).id, 1), 42)
  })

  it('runs a task of maxRetries 2 three times, with retries 0, 1, 2, and then fails it', async () => {
    await using w = await openWorld()
    const seen: number[] = []
    const task = w.app.task({ name: 'never', bind: true, maxRetries: 2, defaultRetryDelay: 1 }, ({ request, retry }) => {
      seen.push(request.retries)
      retry()
    })
    await using _ = working(w.app)
    const result = await task.delay()
    assert.deepEqual(await delaysOf(w, result.id, 2), [1, 1])
    await result.get(UNTHROWN)
    assert.deepEqual(seen, [0, 1, 2])
    assert.equal(await result.state(), 'FAILURE')
    assert.deepEqual([(await rowOf(w, result.id)).retries, (await rowOf(w, result.id)).maxRetries], [2, 2])
  })

  it('fails with the error it was given once none is left, and with MaxRetriesExceededError when it was given none', async () => {
    await using w = await openWorld()
    const task = w.app.task({ name: 'spent', bind: true, maxRetries: 0 }, ({ retry }, given: boolean) => {
      retry(given ? { error: new BadGateway('502') } : {})
    })
    await using _ = working(w.app)
    assert.equal(String(await (await task.delay(true)).get(UNTHROWN)), 'BadGateway: 502')
    const bare = await task.applyAsync([false], { kwargs: { k: 1 } })
    assert.equal(String(await bare.get(UNTHROWN)), `MaxRetriesExceededError: Can't retry spent[${bare.id}] args:[false] kwargs:{"k":1}`)
  })

  it('is not retried once more by autoretryFor when none is left', async () => {
    await using w = await openWorld()
    let runs = 0
    const task = w.app.task({ name: 'spent', bind: true, autoretryFor: [Error], maxRetries: 5 }, ({ retry }) => {
      runs += 1
      retry({ maxRetries: 0, error: new BadGateway('502') })
    })
    await using _ = working(w.app)
    assert.equal(String(await (await task.delay()).get(UNTHROWN)), 'BadGateway: 502')
    assert.equal(runs, 1)
  })

  it('goes on without end for a task of maxRetries null, and for one call may set another limit', async () => {
    await using w = await openWorld()
    const task = w.app.task({ name: 'ever', bind: true, maxRetries: null, defaultRetryDelay: 1 }, ({ request, retry }) => {
      if (request.retries < 25) retry()
      return request.retries
    })
    const capped = w.app.task({ name: 'capped', bind: true, maxRetries: null, defaultRetryDelay: 1 }, ({ retry }) =>
      retry({ maxRetries: 1 }),
    )
    await using _ = working(w.app)
    const result = await task.delay()
    await delaysOf(w, result.id, 25)
    assert.equal(await result.get(SOON), 25)
    const once = await capped.delay()
    await delaysOf(w, once.id, 1)
    assert.equal((await once.get(UNTHROWN)) instanceof Error, true)
  })

  it('leaves a line of history for each run that did not end the task well', async () => {
    await using w = await openWorld()
    const task = w.app.task({ name: 'thrice', bind: true, maxRetries: 2 }, ({ request, retry }) =>
      retry({ countdown: 1, ...(request.retries === 1 ? {} : { error: new BadGateway(`at ${request.retries}`) }) }),
    )
    await using here = working(w.app)
    const result = await task.delay()
    const began = w.clock.now()
    await delaysOf(w, result.id, 2)
    await result.get(UNTHROWN)
    const { attempts } = await historyOf(w, result.id)
    assert.deepEqual(
      attempts.map(({ seq, kind, errorType, errorMessage, at }) => [seq, kind, errorType, errorMessage, at.getTime() - began]),
      [
        [1, 'retry', 'BadGateway', 'at 0', 0],
        [2, 'retry', null, null, 1001],
        [3, 'failure', 'BadGateway', 'at 2', 2002],
      ],
    )
    assert.ok(attempts.every(({ workerId }) => workerId === here.worker.workerId))
    assert.match(attempts[0]?.traceback ?? '', /BadGateway: at 0\n\s+at /)
  })

  it('does not make the task its own parent or child', async () => {
    await using w = await openWorld()
    const task = w.app.task({ name: 'again', bind: true }, ({ request, retry }) => request.retries || retry({ countdown: 1 }))
    await using _ = working(w.app)
    const result = await task.delay()
    await delaysOf(w, result.id, 1)
    await result.get(SOON)
    const { row, children } = await historyOf(w, result.id)
    assert.deepEqual([row.parentId, row.rootId, children], [null, result.id, []])
  })

  it('after the deadline of the task is not run: it is REVOKED when it is due', async () => {
    await using w = await openWorld()
    let runs = 0
    const task = w.app.task({ name: 'again', bind: true }, ({ retry }) => {
      runs += 1
      retry({ countdown: 60 })
    })
    await using _ = working(w.app)
    const result = await task.applyAsync([], { expires: 30 })
    assert.equal(await delayOf(w, result.id, 1), 60)
    w.clock.advance(60_001)
    assert.equal(String(await result.get(UNTHROWN)), 'TaskRevokedError: expired')
    assert.equal(await result.state(), 'REVOKED')
    assert.equal(runs, 1)
  })

  it('of a task that is called directly throws the error at its caller', async () => {
    await using w = await openWorld()
    const task = w.app.task({ name: 'direct', bind: true }, ({ retry }, options: RetryOptions) => retry(options))
    assert.throws(() => task({ error: new BadGateway('502') }), BadGateway)
    assert.throws(() => task({}), { name: 'Retry' })
  })

  it('waits as a row, whoever else comes and goes', async () => {
    await using w = await openWorld()
    const declare = (app: World['app']) =>
      app.task({ name: 'again', bind: true }, ({ request, retry }, x: number) => (request.retries ? x : retry({ countdown: 60 })))
    const task = declare(w.app)
    const results = await Promise.all([1, 2, 3].map((x) => task.delay(x)))
    {
      await using _ = working(w.app)
      for (const { id } of results) await delayOf(w, id, 1)
    }
    await w.app.close()
    const next = await w.join()
    declare(next.app)
    w.clock.advance(60_001)
    await using _ = working(next.app)
    for (const [i, { id }] of results.entries()) assert.equal(await next.app.result(id).get(SOON), i + 1)
  })
})

describe('autoretryFor', () => {
  const fail = (what: string) => () => {
    throw what === 'NotFound' ? new NotFound('404') : new BadGateway('502')
  }

  it('retries the errors it names, with the backoff 1, 2, 4, 8 … up to its maximum', async () => {
    await using w = await openWorld()
    const task = w.app.task(
      { name: 'fetch', autoretryFor: [BadGateway], retryBackoff: true, retryBackoffMax: 10, retryJitter: false, maxRetries: 5 },
      fail('BadGateway'),
    )
    await using _ = working(w.app)
    const result = await task.delay()
    assert.deepEqual(await delaysOf(w, result.id, 5), [1, 2, 4, 8, 10])
    assert.equal(String(await result.get(UNTHROWN)), 'BadGateway: 502')
    assert.deepEqual(
      (await historyOf(w, result.id)).attempts.map(({ kind }) => kind),
      ['retry', 'retry', 'retry', 'retry', 'retry', 'failure'],
    )
  })

  it('without a backoff waits the defaultRetryDelay', async () => {
    await using w = await openWorld()
    const task = w.app.task({ name: 'fetch', autoretryFor: [BadGateway], maxRetries: 1 }, fail('BadGateway'))
    await using _ = working(w.app)
    assert.deepEqual(await delaysOf(w, (await task.delay()).id, 1), [180])
  })

  it('leaves other errors alone, and those that dontAutoretryFor names', async () => {
    await using w = await openWorld()
    const other = w.app.task({ name: 'other', autoretryFor: [RangeError] }, fail('BadGateway'))
    const named = w.app.task({ name: 'named', autoretryFor: [BadGateway], dontAutoretryFor: [NotFound] }, fail('NotFound'))
    await using _ = working(w.app)
    for (const task of [other, named]) {
      const result = await task.delay()
      await result.get(UNTHROWN)
      const { row, attempts } = await historyOf(w, result.id)
      assert.deepEqual([row.status, row.retries, attempts.length], ['FAILURE', 0, 1])
    }
  })

  for (const [random, delays] of [
    [0, [0, 0, 0]],
    [0.5, [1, 2, 4]],
    [0.999_999, [2, 4, 8]],
  ] as const) {
    it(`with jitter waits a whole number of seconds from 0 to the backoff: ${delays.join(', ')} for a chance of ${random}`, async () => {
      await using w = await openWorld()
      const options: TaskOptions = { name: 'fetch', autoretryFor: [BadGateway], retryBackoff: 2, maxRetries: 3 }
      const tasks = new Map<string, TaskDefinition>([['fetch', defineTask(options, fail('BadGateway'), SETTABLE_DEFAULTS)]])
      const settings = { queues: ['default'], concurrency: 1, leaseMs: 30_000, maxDeliveries: 5, resultExpires: null, shutdownMs: 30_000 }
      const pool = new AsyncPool({ forceJson: false, now: () => w.clock.now(), random: () => random })
      const { database, broker, redaction, follower, clock } = w
      const worker = new Worker(
        database,
        broker,
        redaction,
        follower,
        tasks,
        pool,
        settings,
        () => {},
        assert.ifError,
        () => clock.now(),
      )
      const stopping = new AbortController()
      const ended = Promise.all([worker.run(), w.sender.run(stopping.signal)])
      try {
        assert.deepEqual(await delaysOf(w, (await w.app.sendTask('fetch')).id, 3), delays)
      } finally {
        worker.stop()
        stopping.abort()
        await ended
      }
    })
  }
})
