import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { chain } from '../../src/lib/app/canvas.js'
import { SoftTimeLimitExceeded } from '../../src/lib/task/ending.js'
import { childrenOf } from '../helpers/alive.js'
import { assertMessages, countMessages } from '../helpers/messages.js'
import { until } from '../helpers/until.js'
import { gate, pooled, working } from '../helpers/working.js'
import { openWorld, type World } from '../helpers/world.js'

const SOON = { timeout: 15 } as const
const UNTHROWN = { timeout: 15, propagate: false } as const
/** Seconds: a timer of Node's that is set for 2^31 ms or more ends at once. */
const LONGEST = 2_147_483
const OVER = 'SoftTimeLimitExceeded: the task ran longer than its soft time limit of 0.05 s'

const open = () => openWorld({ now: Date.now })
const historyOf = async (w: World, id: string) => (await w.app.tasks.history(id))?.attempts ?? []

describe('a soft time limit', () => {
  it('aborts task.signal with SoftTimeLimitExceeded, and a body that cleans up may still succeed', async () => {
    await using w = await open()
    const task = w.app.task({ name: 'tidy', bind: true, softTimeLimit: 0.05 }, async ({ signal }) => {
      await sleep(60_000, undefined, { signal }).catch(() => {})
      return [signal.reason instanceof SoftTimeLimitExceeded, String(signal.reason)]
    })
    await using _ = working(w.app)
    const result = await task.delay()
    assert.deepEqual(await result.get(SOON), [true, OVER])
    assert.deepEqual(await historyOf(w, result.id), [])
  })

  for (const [what, body] of [
    ['whose aborted call throws an AbortError', (signal: AbortSignal) => sleep(60_000, undefined, { signal })],
    [
      'that throws the reason of the signal',
      async (signal: AbortSignal) => {
        while (!signal.aborted) await sleep(5)
        signal.throwIfAborted()
      },
    ],
  ] as const) {
    it(`fails a body as SoftTimeLimitExceeded, once, ${what}`, async () => {
      await using w = await open()
      const told: string[] = []
      w.app.on('failed', ({ error }) => told.push(error.type))
      const task = w.app.task({ name: 'over', bind: true, softTimeLimit: 0.05 }, ({ signal }) => body(signal))
      await using here = working(w.app)
      const result = await task.delay()
      assert.equal(String(await result.get(UNTHROWN)), OVER)
      assert.equal(await result.state(), 'FAILURE')
      here.worker.stop()
      await here.ended
      assert.deepEqual(told, ['SoftTimeLimitExceeded'])
      assert.deepEqual(
        (await historyOf(w, result.id)).map(({ kind, errorType }) => [kind, errorType]),
        [['failure', 'SoftTimeLimitExceeded']],
      )
    })
  }

  it('is an error like any other for autoretryFor', async () => {
    await using w = await open()
    const task = w.app.task(
      { name: 'over', bind: true, softTimeLimit: 0.05, autoretryFor: [SoftTimeLimitExceeded], defaultRetryDelay: 0 },
      async ({ request, signal }) => request.retries || sleep(60_000, undefined, { signal }),
    )
    await using _ = working(w.app)
    assert.equal(await (await task.delay()).get(SOON), 1)
  })

  it('says nothing to a body that ends in time', async () => {
    await using w = await open()
    let signal: AbortSignal | null = null
    const task = w.app.task({ name: 'quick', bind: true, softTimeLimit: 0.05 }, (context) => {
      signal = context.signal
    })
    await using _ = working(w.app)
    await (await task.delay()).get(SOON)
    await sleep(100)
    assert.equal((signal as AbortSignal | null)?.aborted, false)
  })

  it('reaches a body in a process of its own', async () => {
    await using w = await open()
    await using _ = await pooled(w.app)
    const tidied = await w.app.sendTask('tidy', [join(w.folder, 'side')], { softTimeLimit: 0.05 })
    assert.equal(await tidied.get(SOON), 'tidied')
    assert.equal(await readFile(join(w.folder, 'side'), 'utf8'), 'SoftTimeLimitExceeded\n')
    const failed = await w.app.sendTask('wait', [], { softTimeLimit: 0.05 })
    assert.equal(String(await failed.get(UNTHROWN)), OVER)
  })
})

describe('a hard time limit', () => {
  it('kills the process of a body that never lets go, replaces it, and fails the task once', async () => {
    await using w = await open()
    const told: string[] = []
    w.app.on('failed', ({ error }) => told.push(error.type))
    await using here = await pooled(w.app)
    const before = Number(await (await w.app.sendTask('pid')).get(SOON))
    const result = await w.app.sendTask('busy', [], { timeLimit: 0.2 })
    assert.equal(String(await result.get(UNTHROWN)), 'TimeLimitExceeded: the task ran longer than its time limit of 0.2 s')
    await until(() => {
      const [pid, ...more] = childrenOf(process.pid)
      return pid !== undefined && pid !== before && more.length === 0
    }, 'another child in its place')
    assert.notEqual(await (await w.app.sendTask('pid')).get(SOON), before)
    here.worker.stop()
    await here.ended
    assert.deepEqual(told, ['TimeLimitExceeded'])
    assert.deepEqual(
      (await historyOf(w, result.id)).map(({ kind, errorType }) => [kind, errorType]),
      [['lost', 'TimeLimitExceeded']],
    )
  })

  it('of a body that is killed tells each errback once, and fails what would have followed', async () => {
    await using w = await open()
    await using _ = await pooled(w.app)
    const [busy, next] = [w.app.signature('busy').set({ timeLimit: 0.2 }), w.app.signature('parts')]
    const linkError = [next, next.clone(['more'])]
    const result = await chain(busy, next, next).applyAsync({ linkError })
    const [first = '', ...after] = result.lineage().map(({ id }) => id)
    await until(async () => {
      const open = await w.app.tasks.list({ statuses: ['PENDING', 'STARTED'] })
      return open.length === 0 && (await w.app.tasks.count()) === 5
    }, 'everything to end')
    for (const id of [first, ...after]) assert.equal((await w.app.tasks.get(id))?.errorType, 'TimeLimitExceeded')
    const told = await w.app.tasks.list({ tasks: ['parts'], statuses: ['SUCCESS'] })
    assert.deepEqual(told.map((row) => row.result).sort(), [[first], [first, 'more']])
  })

  it('has a late-ack task of acksOnFailureOrTimeout false run again', async () => {
    await using w = await open()
    await using _ = await pooled(w.app)
    const result = await w.app.sendTask('busy_late', [], { timeLimit: 0.2 })
    assert.equal(await result.get(SOON), 2)
    assert.deepEqual(
      (await historyOf(w, result.id)).map(({ kind, errorType }) => [kind, errorType]),
      [['lost', 'TimeLimitExceeded']],
    )
    await until(async () => (await countMessages(w)) === 0, 'the message to be acked')
  })

  it('in the async pool fails the task, gives its slot to another, and what the body says later changes nothing', async () => {
    await using w = await open()
    const door = gate()
    const errors: unknown[] = []
    let late = false
    const task = w.app.task({ name: 'stuck', bind: true, timeLimit: 0.05 }, async ({ update }) => {
      await door.passed
      await update({ state: 'AWAKE' }).catch((error) => errors.push(error))
      late = true
      return 'late'
    })
    const quick = w.app.task('quick', () => 'quick')
    await using _ = working(w.app, { concurrency: 1 })
    const result = await task.delay()
    const other = await quick.delay()
    assert.equal(String(await result.get(UNTHROWN)), 'TimeLimitExceeded: the task ran longer than its time limit of 0.05 s')
    assert.equal(await other.get(SOON), 'quick')
    const before = await w.app.tasks.history(result.id)
    door.open()
    await until(() => late, 'the body to end')
    await (await quick.delay()).get(SOON)
    assert.deepEqual(await w.app.tasks.history(result.id), before)
    assert.deepEqual(errors, [])
  })

  it('in the async pool aborts task.signal, so that a body which looks at it ends', async () => {
    await using w = await open()
    let reason: unknown = null
    const task = w.app.task({ name: 'looks', bind: true, timeLimit: 0.05 }, async ({ signal }) => {
      await sleep(60_000, undefined, { signal }).catch(() => {})
      reason = signal.reason
    })
    await using _ = working(w.app)
    await (await task.delay()).get(UNTHROWN)
    await until(() => reason, 'the body to be told')
    assert.equal(String(reason), 'TimeLimitExceeded: the task ran longer than its time limit of 0.05 s')
  })

  it('in the async pool has a late-ack task of acksOnFailureOrTimeout false run again, at most maxDeliveries times', async () => {
    await using w = await openWorld({ now: Date.now, settings: { maxDeliveries: 2 } })
    let runs = 0
    const task = w.app.task({ name: 'stuck', acksLate: true, acksOnFailureOrTimeout: false, timeLimit: 0.05 }, () => {
      runs += 1
      return new Promise(() => {})
    })
    await using _ = working(w.app)
    const result = await task.delay()
    assert.equal(String(await result.get(UNTHROWN)), 'WorkerLostError: delivered 2 times, and no worker lived to finish it')
    assert.equal(runs, 2)
    await assertMessages(w, 0)
  })
})

describe('the time limits of a call', () => {
  it('win over those of the task', async () => {
    await using w = await open()
    const task = w.app.task({ name: 'over', bind: true, softTimeLimit: 60, timeLimit: 60 }, ({ signal }) => sleep(500, 'done', { signal }))
    const hasty = w.app.task({ name: 'hasty', bind: true, softTimeLimit: 0.05 }, ({ signal }) => sleep(100, 'done', { signal }))
    await using _ = working(w.app)
    assert.equal(String(await (await task.applyAsync([], { softTimeLimit: 0.05 })).get(UNTHROWN)), OVER)
    assert.equal(await (await hasty.applyAsync([], { softTimeLimit: 60 })).get(SOON), 'done')
  })

  it('survive a retry', async () => {
    await using w = await open()
    const task = w.app.task({ name: 'again', bind: true }, async ({ request, retry, signal }) => {
      if (request.retries === 0) retry({ countdown: 0 })
      await sleep(60_000, undefined, { signal })
    })
    await using _ = working(w.app)
    assert.equal(String(await (await task.applyAsync([], { softTimeLimit: 0.05 })).get(UNTHROWN)), OVER)
  })

  it('are refused when the soft one is above the hard one, whichever of them the task declares', async () => {
    await using w = await open()
    const expected = (soft: number, hard: number) => ({
      message: `softTimeLimit: expected at most the time limit of ${hard} s, got: ${soft}`,
    })
    const plain = w.app.task('plain', () => 1)
    const hard = w.app.task({ name: 'hard', timeLimit: 5 }, () => 1)
    const soft = w.app.task({ name: 'soft', softTimeLimit: 10 }, () => 1)
    await assert.rejects(plain.applyAsync([], { softTimeLimit: 2, timeLimit: 1 }), expected(2, 1))
    await assert.rejects(hard.applyAsync([], { softTimeLimit: 6 }), expected(6, 5))
    await assert.rejects(soft.applyAsync([], { timeLimit: 9 }), expected(10, 9))
    assert.equal(await w.app.tasks.count(), 0)
    await soft.applyAsync([], { timeLimit: 10 })
  })

  it('are refused at the declaration of a task, too', async () => {
    await using w = await open()
    assert.throws(() => w.app.task({ name: 'both', softTimeLimit: 2, timeLimit: 1 }, () => 1), {
      message: 'task both: softTimeLimit: expected at most the time limit of 1 s, got: 2',
    })
    for (const option of ['softTimeLimit', 'timeLimit']) {
      for (const limit of [0, -1, Number.NaN, LONGEST + 1]) {
        assert.throws(() => w.app.task({ name: 'odd', [option]: limit }, () => 1), {
          message: `task odd: ${option}: expected seconds above 0, at most ${LONGEST}, or null for no limit, got: ${limit}`,
        })
      }
    }
  })

  it('are refused beyond what a timer can wait for, and up to that let the task run', async () => {
    await using w = await open()
    const task = w.app.task({ name: 'long', softTimeLimit: LONGEST, timeLimit: LONGEST }, () => sleep(50, 'done'))
    for (const option of ['softTimeLimit', 'timeLimit']) {
      await assert.rejects(task.applyAsync([], { [option]: LONGEST + 1 }), {
        name: 'UsageError',
        message: `${option}: expected seconds above 0, at most ${LONGEST}, got: ${LONGEST + 1}`,
      })
    }
    await using _ = working(w.app)
    assert.equal(await (await task.delay()).get(SOON), 'done')
    assert.equal(await (await task.applyAsync([], { softTimeLimit: LONGEST, timeLimit: LONGEST })).get(SOON), 'done')
  })
})
