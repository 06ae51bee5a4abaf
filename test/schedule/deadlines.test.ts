import assert from 'node:assert/strict'
import { chain, chord, group } from '../../src/lib/canvas/compose.js'
import { groupsOf } from '../../src/lib/canvas/freeze.js'
import { membersOf } from '../../src/lib/ledger/groups.js'
import type { Canvas } from '../../src/lib/task/signature.js'
import { putRow } from '../helpers/rows.js'
import { until } from '../helpers/until.js'
import { type BrokerName, idsOf, needsServer, openStage, SERVED, type Stage, sig } from '../helpers/workflows.js'
import { working } from '../helpers/working.js'
import { DAWN } from '../helpers/world.js'

const LEASE_MS = 30_000

/** Time stands still until it is moved. */
const openStill = (broker: BrokerName) => openStage({ broker, now: () => DAWN, settings: { lease: LEASE_MS / 1000 } })

/** The body of a chord whose members have a worker that never says anything again. */
async function silence(w: Stage): Promise<Canvas> {
  const whole = await w.send(chord([sig('add', [1], { queue: 'of nobody' }), sig('add', [2])], chain([sig('total'), sig('add')])), {
    deadline: DAWN + 1000,
  })
  w.app.task('add', (x: number) => x)
  await using _ = working(w.app)
  await w.ended(idsOf(whole)[1] ?? '')
  return whole
}

for (const broker of SERVED) {
  describe(`a chord that waits at its deadline, with the ${broker} broker`, () => {
    needsServer(broker)

    it('fails its body, all of it, and says what did not end', async () => {
      await using w = await openStill(broker)
      const whole = await silence(w)
      const [silent = '', , ...body] = idsOf(whole)
      w.clock.advance(999)
      await w.app.tasks.sendScheduled()
      assert.deepEqual(await w.statuses(...body), ['none', 'none'])
      w.clock.advance(1)
      await w.app.tasks.sendScheduled()
      for (const id of body) {
        const { status, errorType, errorMessage } = await w.row(id)
        const said = `Dependency ${silent} raised DeadlineExceeded: 1 of the chord's 2 tasks had not ended at its deadline 2026-11-20T12:00:01.000Z`
        assert.deepEqual([status, errorType, errorMessage], ['FAILURE', 'ChordError', said])
      }
      assert.deepEqual(w.errors, [])
    })

    it('sends the errback of its body, once, however many senders there are and whatever ends later', async () => {
      await using w = await openStill(broker)
      const whole = await w.send(
        chord([sig('add', [1], { queue: 'of nobody' })], sig('total', [], { linkError: [sig('hear', [], { taskId: 'errback' })] })),
        { deadline: DAWN + 1000 },
      )
      const [silent = '', body = ''] = idsOf(whole)
      w.clock.advance(1000)
      const other = broker === 'embedded' ? (await w.join()).app : w.app
      await Promise.all([w.app.tasks.sendScheduled(), other.tasks.sendScheduled()])
      await w.app.tasks.revoke([silent])
      await w.app.tasks.sendScheduled()
      assert.deepEqual(await w.statuses(silent, body, 'errback'), ['REVOKED', 'FAILURE', 'PENDING'])
      assert.equal(await w.isWaiting('errback'), true)
      const errbacks = await w.app.tasks.list({ tasks: ['hear'] })
      assert.deepEqual(
        errbacks.map(({ args, expires }) => [args, expires]),
        [[[body], null]],
      )
    })

    // whose message RabbitMQ cannot make out fails at once: its headers say whose it is
    if (broker !== 'RabbitMQ')
      it('fails its body also when the message of a member cannot be read', async () => {
        await using w = await openStill(broker)
        const whole = await w.send(chord([sig('add', [1]), sig('add', [2])], sig('total')), { deadline: DAWN + 1000 })
        const [broken = '', other = '', body = ''] = idsOf(whole)
        await w.messages.run("UPDATE task_message SET body = '{' WHERE task_id = ?", [broken])
        w.app.task('add', (x: number) => x)
        {
          await using _ = working(w.app)
          await w.ended(other)
          await until(async () => !(await w.broker.has(broken)), 'its message to be dropped')
        }
        assert.deepEqual(await w.statuses(broken, body), ['PENDING', 'none'])
        assert.deepEqual(
          (await w.app.tasks.findStale()).map(({ taskId, reason }) => [taskId, reason]),
          [[broken, 'unclaimed']],
        )
        w.clock.advance(1000)
        await w.app.tasks.sendScheduled()
        assert.match((await w.row(body)).errorMessage ?? '', new RegExp(`^Dependency ${broken} raised DeadlineExceeded: `))
      })

    it('is left alone when it has ended in time', async () => {
      await using w = await openStill(broker)
      w.app.task('add', (x: number) => x)
      w.app.task('total', (xs: number[]) => xs.length)
      const whole = await w.send(chord([sig('add', [1])], sig('total')), { deadline: DAWN + 1000 })
      {
        await using _ = working(w.app)
        await w.ended(...idsOf(whole))
      }
      w.clock.advance(1000)
      await w.app.tasks.sendScheduled()
      assert.deepEqual(await w.statuses(...idsOf(whole)), ['SUCCESS', 'SUCCESS'])
    })

    it('is noticed by a sender that runs', async () => {
      await using w = await openStage({ broker })
      const whole = await w.send(chord([sig('add', [1], { queue: 'of nobody' })], sig('total')), { deadline: Date.now() + 50 })
      const stopping = new AbortController()
      const sending = w.sender.run(stopping.signal)
      const [body] = await w.ended(idsOf(whole)[1] ?? '')
      stopping.abort()
      await sending
      assert.equal(body?.errorType, 'ChordError')
      assert.ok((body?.finishedAt?.getTime() ?? 0) < Date.now() + 5000)
    })
  })

  describe(`a workflow with a deadline, with the ${broker} broker`, () => {
    needsServer(broker)

    it('hands it on to every task, and none expires later', async () => {
      await using w = await openStill(broker)
      w.app.task('add', (x: number) => x)
      w.app.task('total', (xs: number[]) => xs.length)
      await using _ = working(w.app)
      const steps = [sig('add', [1], { expires: 3600 }), group([sig('add'), sig('add', [], { expires: 1 })]), sig('total'), sig('add')]
      const whole = await w.send(chain(steps), { deadline: DAWN + 10_000 })
      const rows = await w.ended(...idsOf(whole))
      assert.deepEqual(
        rows.map(({ expires, options }) => [expires?.getTime(), options.deadline]),
        [10_000, 10_000, 1000, 10_000, 10_000].map((ms) => [DAWN + ms, DAWN + 10_000]),
      )
    })
  })

  describe(`a task that expired and that no worker ever took, with the ${broker} broker`, () => {
    needsServer(broker)

    it('is revoked by a sender a lease later, and what follows it ends with it', async () => {
      await using w = await openStill(broker)
      const whole = await w.send(chain([sig('add', [1], { expires: 10, linkError: [sig('hear', [], { taskId: 'errback' })] }), sig('add')]))
      w.clock.advance(10_000 + LEASE_MS - 1)
      await w.app.tasks.sendScheduled()
      assert.deepEqual(await w.statuses(...idsOf(whole)), ['PENDING', 'none'])
      w.clock.advance(1)
      assert.deepEqual(
        (await w.app.tasks.sendScheduled()).map(({ taskId, outcome }) => [taskId, outcome]),
        [[idsOf(whole)[0], 'expired']],
      )
      assert.deepEqual(await w.statuses(...idsOf(whole), 'errback'), ['REVOKED', 'REVOKED', 'PENDING'])
      assert.equal(await w.isWaiting('errback'), true)
    })

    it('is revoked at its eta when that was later, and its errback is sent', async () => {
      await using w = await openStill(broker)
      const linkError = [sig('hear', [], { taskId: 'errback' })]
      const whole = await w.send(chain([sig('add', [1], { expires: 10, countdown: 20, linkError }), sig('add')]))
      w.clock.advance(20_001)
      await w.app.tasks.sendScheduled()
      assert.deepEqual(await w.statuses(...idsOf(whole), 'errback'), ['REVOKED', 'REVOKED', 'PENDING'])
      assert.equal(await w.isWaiting('errback'), true)
    })

    it('but that a worker has started is left to it', async () => {
      await using w = await openStill(broker)
      w.app.task('hangs', () => new Promise(() => {}))
      const whole = await w.send(sig('hangs', [], { expires: 10 }))
      const [id = ''] = idsOf(whole)
      await using _ = working(w.app)
      await until(async () => (await w.statuses(id))[0] === 'STARTED', 'it to run')
      w.clock.advance(10_000 + LEASE_MS)
      await w.app.tasks.sendScheduled()
      assert.deepEqual(await w.statuses(id), ['STARTED'])
    })

    it('but that has a child has run where nobody tells of it, and is left alone', async () => {
      await using w = await openStill(broker)
      const whole = await w.send(chain([sig('add', [1], { expires: 10, linkError: [sig('hear', [], { taskId: 'errback' })] }), sig('add')]))
      const [first = '', next = ''] = idsOf(whole)
      await putRow(w.database, { task_id: next, parent_id: first })
      w.clock.advance(10_000 + LEASE_MS)
      assert.deepEqual(await w.app.tasks.sendScheduled(), [])
      assert.deepEqual(await w.statuses(first, next, 'errback'), ['PENDING', 'PENDING', 'none'])
    })
  })

  describe(`a scheduled part of a workflow, with the ${broker} broker`, () => {
    needsServer(broker)

    it('keeps its root, its place and what follows it when it is sent under its new id', async () => {
      await using w = await openStill(broker)
      w.app.task('add', (x: number) => x)
      w.app.task('total', (xs: number[]) => xs.length)
      const whole = await w.send(
        chain([sig('add', [1], { countdown: 60 }), group([sig('add'), sig('add', [], { countdown: 60 })]), sig('total')]),
      )
      const [first = '', second, third = '', last = ''] = idsOf(whole)
      await using _ = working(w.app, { sender: false })
      for (const id of [first, third]) {
        await until(async () => (await w.statuses(id))[0] === 'SCHEDULED', 'it to wait')
        w.clock.advance(60_001)
        await w.app.tasks.sendScheduled()
        assert.equal((await w.row(id)).status, 'SCHEDULED_SENT')
      }
      const [end] = await w.ended(last)
      const [header] = groupsOf(whole)
      const places = (await membersOf(w.database, header?.groupId ?? '')).map(({ taskId }) => taskId)
      assert.deepEqual(places, [second, (await w.row(third)).scheduledId])
      assert.equal(end?.result, 2)
      assert.deepEqual(await w.database.all('SELECT DISTINCT root_id FROM task_result', []), [{ root_id: first }])
    })
  })
}

describe('a chord whose body is redacted', () => {
  it('holds it no longer than it waits', async () => {
    await using w = await openStage({ now: () => DAWN, settings: { redact: ['kwargs.token'] } })
    const body = { ...sig('total'), kwargs: { token: 'the-secret' } }
    await w.send(chord([sig('add', [1], { queue: 'of nobody' })], body), { deadline: DAWN + 1000 })
    const kept = () => w.database.all("SELECT 1 FROM task_group WHERE body LIKE '%the-secret%'", [])
    assert.equal((await kept()).length, 1)
    w.clock.advance(1000)
    await w.app.tasks.sendScheduled()
    assert.deepEqual(await kept(), [])
  })
})

describe('a scheduled member of a group', () => {
  it('has its place taken by the task that is sent for it, before that has ended', async () => {
    await using w = await openStill('embedded')
    const whole = await w.send(group([sig('add', [1], { countdown: 60 }), sig('add', [2])]))
    w.clock.advance(60_001)
    const [sent] = await w.app.tasks.sendScheduled()
    const members = await membersOf(w.database, groupsOf(whole)[0]?.groupId ?? '')
    assert.deepEqual(
      members.map(({ taskId, status }) => [taskId, status]),
      [
        [sent?.newTaskId, 'PENDING'],
        [idsOf(whole)[1], 'PENDING'],
      ],
    )
  })
})
