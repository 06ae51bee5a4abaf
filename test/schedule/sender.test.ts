import assert from 'node:assert/strict'
import { claimDue } from '../../src/lib/ledger/due.js'
import { revokeScheduled } from '../../src/lib/ledger/ends.js'
import type { Sent } from '../../src/lib/schedule/sent.js'
import { takeAll } from '../helpers/messages.js'
import { until } from '../helpers/until.js'
import { working } from '../helpers/working.js'
import { openWorld, type World } from '../helpers/world.js'

const HOUR = 3_600_000

const rowOf = async (w: World, id: string) => (await w.app.tasks.get(id)) ?? assert.fail(`no row for ${id}`)

/** Schedules `task` for `ms` from now. */
const scheduleIn = (w: World, ms: number, task = 'email', args: readonly unknown[] = []) =>
  w.app.sendTask(task, args, { eta: new Date(w.clock.now() + ms) })

const outcomes = (sent: readonly Sent[]) => sent.map(({ taskId, outcome }) => [taskId, outcome])

describe('a scheduled task', () => {
  it('waits as a SCHEDULED row, and no broker hears of it', async () => {
    await using w = await openWorld()
    const { id } = await w.app.sendTask('email', ['a@b.c'], { eta: new Date('2080-01-01T00:00:00Z') })
    const row = await rowOf(w, id)
    assert.deepEqual([row.status, row.eta, row.publishedAt], ['SCHEDULED', new Date('2080-01-01T00:00:00Z'), null])
    assert.deepEqual(await w.app.tasks.sendScheduled(), [])
    assert.deepEqual(await takeAll(w), [])
  })

  it('is sent under a new id once its eta has passed: not before, and not at that very instant', async () => {
    await using w = await openWorld()
    const { id } = await scheduleIn(w, HOUR, 'email', ['a@b.c'])
    w.clock.advance(HOUR - 1)
    assert.deepEqual(await w.app.tasks.sendScheduled(), [])
    w.clock.advance(1)
    assert.deepEqual(await w.app.tasks.sendScheduled(), [])
    w.clock.advance(1)
    const [sent, ...more] = await w.app.tasks.sendScheduled()

    const row = await rowOf(w, id)
    const newId = row.scheduledId ?? assert.fail('no new id')
    assert.deepEqual(more, [])
    assert.deepEqual(sent, { taskId: id, task: 'email', newTaskId: newId, eta: row.eta, outcome: 'sent', error: null })
    assert.deepEqual([row.status, row.result], ['SCHEDULED_SENT', { new_task_id: newId }])
    assert.deepEqual(row.finishedAt, new Date(w.clock.now()))
    const task = await rowOf(w, newId)
    assert.deepEqual([task.status, task.eta, task.args, task.rootId], ['PENDING', null, ['a@b.c'], newId])
    const [message] = await takeAll(w)
    assert.deepEqual([message?.id, message?.eta, message?.args], [newId, null, ['a@b.c']])
    assert.deepEqual(await w.app.tasks.sendScheduled(), [])
  })

  it('is sent with everything its publish call gave', async () => {
    await using w = await openWorld()
    const task = w.app.task({ name: 'rich', acksLate: true }, () => 1)
    const options = {
      kwargs: { k: [1] },
      queue: 'mail',
      priority: 5,
      headers: { h: 'x' },
      expires: 2 * 3600,
      ignoreResult: true,
      resultExpires: 77,
    }
    await task.applyAsync([], { ...options, eta: new Date(w.clock.now() + HOUR) })
    const expires = w.clock.now() + 2 * HOUR
    w.clock.advance(HOUR + 1)
    await w.app.tasks.sendScheduled()
    const [message] = await takeAll(w, 'mail')
    const { kwargs, queue, priority, options: carried } = message ?? assert.fail('nothing was sent')
    assert.deepEqual([kwargs, queue, priority, message?.expires], [{ k: [1] }, 'mail', 5, expires])
    assert.deepEqual(carried, { headers: { h: 'x' }, ignoreResult: true, resultExpires: 77, acksLate: true })
  })

  it('whose result is ignored has a row while it waits, and the task that is sent leaves none', async () => {
    await using w = await openWorld()
    const runs: string[] = []
    w.app.task({ name: 'quiet', bind: true }, ({ request }) => {
      runs.push(request.id)
    })
    const { id } = await w.app.sendTask('quiet', [], { ignoreResult: true, countdown: 60 })
    assert.equal((await rowOf(w, id)).status, 'SCHEDULED')
    w.clock.advance(60_001)
    const [sent] = await w.app.tasks.sendScheduled()
    const newId = sent?.newTaskId ?? assert.fail('nothing was sent')
    // while its message is on its way to a broker elsewhere, and may be lost there, a row keeps it
    assert.equal((await w.app.tasks.get(newId))?.status, w.carrier ? 'PENDING' : undefined)
    await using _ = working(w.app)
    await until(async () => runs.length === 1 && (await w.app.tasks.get(newId)) === null, 'it to run, and leave no row')
    assert.deepEqual(runs, [newId])
    assert.equal(await w.app.tasks.count(), 1)
  })

  // Celery on Redis runs it once for each visibility timeout that passes before its eta
  for (const scheduleEta of [true, false]) {
    const where = scheduleEta ? 'with the sender' : 'with the broker'
    it(`hours ahead is run once, however many leases of however many workers pass before: it waits ${where}`, async () => {
      await using w = await openWorld({ now: Date.now, settings: { lease: 30, scheduleEta } })
      const there = await w.join()
      const runs: number[] = []
      for (const { app } of [w, there]) {
        app.task({ name: 'email', acksLate: true }, () => runs.push(w.clock.now()))
        app.task('probe', () => 1)
      }
      await using _here = working(w.app)
      await using _there = working(there.app)
      const due = w.clock.now() + 3 * HOUR
      const result = await scheduleIn(w, 3 * HOUR)
      const probed = async () => {
        const probe = await w.app.sendTask('probe', [], { countdown: 0.001 })
        w.clock.advance(2)
        await probe.get({ timeout: 10 }) // what was due before it has been sent, and received
      }
      for (let minutes = 30; minutes <= 360; minutes += 30) {
        w.clock.advance(HOUR / 2)
        await probed()
        if (minutes < 180) assert.deepEqual(runs, [], `after ${minutes} minutes`)
        else await result.get({ timeout: 10 })
      }
      assert.equal(runs.length, 1)
      assert.ok((runs[0] ?? 0) >= due)
      assert.equal((await w.app.tasks.list({ tasks: ['email'] })).length, scheduleEta ? 2 : 1)
    })
  }

  it('keeps its place in the tree of the task that published it', async () => {
    await using w = await openWorld()
    const parent = w.app.task('parent', async () => (await w.app.sendTask('email', [], { countdown: 60 })).id)
    await using _ = working(w.app)
    const result = await parent.delay()
    const id = await result.get({ timeout: 10 })
    w.clock.advance(60_001)
    const newId = await until(async () => (await rowOf(w, id)).scheduledId, 'the task to be sent')
    const { parentId, rootId } = await until(() => w.app.tasks.get(newId), 'its row')
    assert.deepEqual([parentId, rootId], [result.id, result.id])
  })

  it('that has expired when it is due is REVOKED and not sent', async () => {
    await using w = await openWorld()
    const { id } = await w.app.sendTask('email', [], { countdown: 60, expires: 60 })
    w.clock.advance(60_001)
    assert.deepEqual(outcomes(await w.app.tasks.sendScheduled()), [[id, 'expired']])
    const row = await rowOf(w, id)
    assert.deepEqual([row.status, row.errorType, row.errorMessage], ['REVOKED', 'TaskRevokedError', 'expired'])
    assert.deepEqual(await takeAll(w), [])
  })

  it('that was revoked is never sent', async () => {
    await using w = await openWorld()
    const { id } = await scheduleIn(w, 60_000)
    const end = { at: w.clock.now(), resultExpiresAt: null }
    assert.equal(await w.database.write((sql) => revokeScheduled(sql, id, 'revoked', end)), true)
    w.clock.advance(HOUR)
    assert.deepEqual(await w.app.tasks.sendScheduled(), [])
    assert.equal((await rowOf(w, id)).status, 'REVOKED')
    assert.deepEqual(await takeAll(w), [])
  })

  it('is followed by get() to the task that was sent', async () => {
    await using w = await openWorld()
    const double = w.app.task('double', (x: number) => x * 2)
    const result = await double.applyAsync([4], { countdown: 60 })
    await using _ = working(w.app)
    w.clock.advance(60_001)
    assert.equal(await result.get({ timeout: 10 }), 8)
  })
})

describe('a pass over what is due', () => {
  it('sends in the order of the etas, whatever the order of the publishes', async () => {
    await using w = await openWorld()
    for (const n of [5, 3, 9, 1, 7]) await scheduleIn(w, n * 1000, 'email', [n])
    w.clock.advance(HOUR)
    await w.app.tasks.sendScheduled()
    assert.deepEqual(
      (await takeAll(w)).map(({ args }) => args[0]),
      [1, 3, 5, 7, 9],
    )
  })

  it('sends no more than it is asked for, the earliest first', async () => {
    await using w = await openWorld()
    await Promise.all(Array.from({ length: 130 }, (_, i) => scheduleIn(w, 1000 + i, 'email', [i])))
    w.clock.advance(HOUR)
    const numbers = async () => (await takeAll(w)).map(({ args }) => args[0])
    assert.equal((await w.app.tasks.sendScheduled(3)).length, 3)
    assert.deepEqual(await numbers(), [0, 1, 2])
    assert.equal((await w.app.tasks.sendScheduled(110)).length, 110) // more than one batch
    assert.deepEqual(
      await numbers(),
      Array.from({ length: 110 }, (_, i) => i + 3),
    )
    assert.equal((await w.app.tasks.sendScheduled()).length, 17)
  })

  it('by two programs at once sends each of 1000 tasks exactly once', async () => {
    await using w = await openWorld()
    const other = await w.join()
    await Promise.all(Array.from({ length: 1000 }, (_, i) => scheduleIn(w, 1000 + i)))
    w.clock.advance(HOUR)
    const both = await Promise.all([w.app.tasks.sendScheduled(), other.app.tasks.sendScheduled()])
    assert.ok(
      both.every((sent) => sent.length > 0),
      `one of them sent everything: ${both.map((sent) => sent.length)}`,
    )
    assert.equal(new Set(both.flat().map(({ taskId }) => taskId)).size, 1000)
    assert.equal(both.flat().length, 1000)
    const messages = await takeAll(w)
    assert.deepEqual(new Set(messages.map(({ id }) => id)), new Set(both.flat().map(({ newTaskId }) => newTaskId)))
    assert.equal(messages.length, 1000)
  })

  it('sends the retries that are due and the tasks that no broker took, under their own ids', async () => {
    await using w = await openWorld()
    const again = w.app.task({ name: 'again', bind: true }, ({ retry }) => retry({ countdown: 60 }))
    const retried = await again.delay()
    {
      await using _ = working(w.app)
      await until(async () => (await retried.state()) === 'RETRY', 'the retry')
    }
    const unsent = await w.app.sendTask('email', ['a@b.c'])
    await takeAll(w)
    await w.database.run('DELETE FROM task_message', [])
    await w.database.run('UPDATE task_result SET published_at = NULL WHERE task_id = ?', [unsent.id])

    assert.deepEqual(await w.app.tasks.sendScheduled(), [])
    w.clock.advance(30_000) // a lease: whoever recorded the task is not about to publish it
    assert.deepEqual(outcomes(await w.app.tasks.sendScheduled()), [[unsent.id, 'sent']])
    w.clock.advance(30_001)
    assert.deepEqual(outcomes(await w.app.tasks.sendScheduled()), [[retried.id, 'sent']])
    const messages = await takeAll(w)
    assert.deepEqual(
      messages.map(({ id, retries }) => [id, retries]),
      [
        [unsent.id, 0],
        [retried.id, 1],
      ],
    )
    assert.deepEqual(messages[0]?.args, ['a@b.c'])
    assert.deepEqual((await rowOf(w, unsent.id)).publishedAt, new Date(w.clock.now() - 30_001))
    assert.equal((await rowOf(w, retried.id)).status, 'RETRY') // until a worker takes it
    w.clock.advance(HOUR)
    assert.deepEqual(await w.app.tasks.sendScheduled(), [])
  })

  it('that has nothing to send waits for nobody who writes', async () => {
    await using w = await openWorld()
    await scheduleIn(w, HOUR)
    const other = await w.join()
    await other.database.knex.transaction(async () => {
      assert.deepEqual(await w.app.tasks.sendScheduled(), [])
    })
  })

  it('takes up the claim of a sender that died, under the id that sender chose', async () => {
    await using w = await openWorld()
    const { id } = await scheduleIn(w, 1000)
    w.clock.advance(1001)
    await w.database.write((sql) => claimDue(sql, ['chosen'], w.clock.now(), w.clock.now()))
    assert.deepEqual(await w.app.tasks.sendScheduled(), [])
    const claimed = async () => (await w.app.tasks.findStaleScheduled({ olderThan: 20 })).map(({ taskId, reason }) => [taskId, reason])
    assert.deepEqual(await claimed(), []) // measured from the claim, not from the eta
    w.clock.advance(20_000)
    assert.deepEqual(await claimed(), [[id, 'claimed']])
    assert.deepEqual(await w.app.tasks.sendScheduled(), [])
    w.clock.advance(10_000)
    assert.deepEqual(outcomes(await w.app.tasks.sendScheduled()), [[id, 'sent']])
    assert.deepEqual(
      (await takeAll(w)).map((message) => message.id),
      ['chosen'],
    )
  })
})

describe('a row that cannot be sent', () => {
  /** Ten due tasks, the fourth of which has arguments that are not JSON. */
  async function tenDue(w: World) {
    const ids: string[] = []
    for (let n = 0; n < 10; n++) ids.push((await scheduleIn(w, 1000 + n)).id)
    const [bad = ''] = ids.splice(3, 1)
    await w.database.run('UPDATE task_result SET args = \'["a@b.c"\' WHERE task_id = ?', [bad])
    w.clock.advance(HOUR)
    return { bad, good: ids }
  }

  const tries = async (w: World, id: string) =>
    ((await w.app.tasks.history(id))?.attempts ?? []).filter(({ kind }) => kind === 'send-failed')

  it('keeps none of the others back, and says on its row and in its history why it waits', async () => {
    await using w = await openWorld()
    const { bad, good } = await tenDue(w)
    const sent = await w.app.tasks.sendScheduled()
    assert.deepEqual(
      sent.filter(({ outcome }) => outcome === 'sent').map(({ taskId }) => taskId),
      good,
    )
    const error = 'its args are missing or not a JSON array'
    assert.deepEqual(
      sent.filter(({ outcome }) => outcome !== 'sent').map(({ taskId, outcome, error }) => [taskId, outcome, error]),
      [[bad, 'failed', error]],
    )
    const row = await rowOf(w, bad)
    assert.deepEqual([row.status, row.scheduledId, row.errorType, row.errorMessage], ['SCHEDULED', null, 'UnsendableRowError', error])
    assert.deepEqual(
      (await tries(w, bad)).map(({ errorType, errorMessage, at }) => [errorType, errorMessage, at.getTime()]),
      [['UnsendableRowError', error, w.clock.now()]],
    )
    const stale = await w.app.tasks.findStaleScheduled()
    assert.deepEqual(
      stale.map(({ taskId, reason }) => [taskId, reason]),
      [[bad, 'overdue']],
    )
    assert.equal((await takeAll(w)).length, 9)
  })

  it('is left alone for a minute by a sender that runs, and tried at once by one that is called', async () => {
    await using w = await openWorld()
    const { bad } = await tenDue(w)
    await using _ = working(w.app, { queues: ['none of these'] })
    await until(async () => (await tries(w, bad)).length === 1, 'the running sender to try it')
    const later = await scheduleIn(w, 1)
    w.clock.advance(2)
    await until(async () => (await rowOf(w, later.id)).status === 'SCHEDULED_SENT', 'the running sender to send another')
    assert.equal((await tries(w, bad)).length, 1)

    assert.deepEqual(outcomes(await w.app.tasks.sendScheduled()), [[bad, 'failed']])
    assert.equal((await tries(w, bad)).length, 2)
    w.clock.advance(60_001)
    await until(async () => (await tries(w, bad)).length === 3, 'the running sender to try it again')
  })

  it('is sent once its arguments have been put right, and its error is forgotten', async () => {
    await using w = await openWorld()
    const { bad } = await tenDue(w)
    await w.app.tasks.sendScheduled()
    await w.database.run('UPDATE task_result SET args = \'["a@b.c"]\' WHERE task_id = ?', [bad])
    w.clock.advance(1)
    assert.deepEqual(outcomes(await w.app.tasks.sendScheduled()), [[bad, 'sent']])
    const { status, errorType, errorMessage } = await rowOf(w, bad)
    assert.deepEqual([status, errorType, errorMessage], ['SCHEDULED_SENT', null, null])
  })

  it('because a retry of it waits with broken arguments keeps no other retry back', async () => {
    await using w = await openWorld()
    const again = w.app.task({ name: 'again', bind: true }, ({ request, retry }) => request.retries || retry({ countdown: 60 }))
    const [bad, good] = [await again.delay(), await again.delay()]
    await using _ = working(w.app)
    await until(async () => (await w.app.tasks.count({ statuses: ['RETRY'] })) === 2, 'the retries')
    await w.database.run("UPDATE task_result SET args = 'broken' WHERE task_id = ?", [bad.id])
    w.clock.advance(60_001)
    assert.equal(await good.get({ timeout: 10 }), 1)
    await until(async () => (await tries(w, bad.id)).length === 1, 'the bad one to be tried')
    assert.equal((await rowOf(w, bad.id)).status, 'RETRY')
    assert.equal((await rowOf(w, bad.id)).errorType, 'UnsendableRowError')
  })
})

describe('a running sender', () => {
  it('has a task start well under a second after its eta, and not before', async () => {
    await using w = await openWorld({ now: Date.now })
    const startedAt: number[] = []
    const task = w.app.task('when', () => {
      startedAt.push(Date.now())
    })
    await using _ = working(w.app)
    const medianLateness = async () => {
      startedAt.length = 0
      const etas = Array.from({ length: 5 }, (_, i) => Date.now() + 150 + i * 60)
      await Promise.all(etas.map((eta) => task.applyAsync([], { eta: new Date(eta) })))
      await until(() => startedAt.length === 5, 'the tasks to run')
      const late = etas.map((eta, i) => (startedAt[i] ?? 0) - eta).sort((a, b) => a - b)
      assert.ok((late[0] ?? 0) > 0, `started ${late} ms after its eta`)
      return late[2] ?? 0
    }
    await until(async () => (await medianLateness()) < 500, 'five etas that are kept') // a busy machine may be late, not always
  })

  it('sends a task that another program scheduled while it slept', async () => {
    await using w = await openWorld({ now: Date.now })
    const other = await w.join()
    w.app.task('email', () => 'sent')
    const far = await scheduleIn(w, HOUR)
    await using _ = working(w.app)
    const near = await other.app.sendTask('email', [], { countdown: 0.05 })
    assert.equal(await near.get({ timeout: 10 }), 'sent')
    assert.equal((await rowOf(w, far.id)).status, 'SCHEDULED')
  })

  it('sends a retry and an unpublished task that are due although hundreds of scheduled tasks are', async () => {
    await using w = await openWorld()
    const again = w.app.task({ name: 'again', bind: true }, ({ retry }) => retry({ countdown: 60 }))
    const retried = await again.delay()
    {
      await using _ = working(w.app, { sender: false })
      await until(async () => (await retried.state()) === 'RETRY', 'the retry')
    }
    const unsent = await w.app.sendTask('email')
    await takeAll(w)
    await w.database.run('DELETE FROM task_message', [])
    await w.database.run('UPDATE task_result SET published_at = NULL WHERE task_id = ?', [unsent.id])
    await Promise.all(Array.from({ length: 1000 }, (_, i) => scheduleIn(w, 1000 + i)))
    w.clock.advance(HOUR)
    const sending = new AbortController()
    const ended = w.sender.run(sending.signal)
    await until(async () => (await w.app.tasks.count({ statuses: ['SCHEDULED'] })) === 0, 'the scheduled tasks to be sent', 30_000)
    sending.abort()
    await ended
    const ids = (await takeAll(w)).map(({ id }) => id)
    assert.equal(ids.length, 1002)
    for (const { id } of [retried, unsent]) assert.ok(ids.indexOf(id) < 200, `${ids.indexOf(id)} tasks were sent before it`)
  })

  it('does not run in a worker that is told to have none', async () => {
    await using w = await openWorld()
    const { id } = await scheduleIn(w, 1000, 'email')
    const probe = w.app.task('probe', () => 1)
    w.clock.advance(HOUR)
    await using _ = working(w.app, { sender: false })
    for (let i = 0; i < 3; i++) await (await probe.delay()).get({ timeout: 10 })
    assert.equal((await rowOf(w, id)).status, 'SCHEDULED')
  })
})
