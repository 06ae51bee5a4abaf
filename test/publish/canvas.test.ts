import assert from 'node:assert/strict'
import { chain, chord, group } from '../../src/lib/canvas/compose.js'
import { RefusedError, TaskIdTakenError } from '../../src/lib/publish/publisher.js'
import { UsageError } from '../../src/lib/task/errors.js'
import type { FailpointName } from '../../src/lib/task/failpoint.js'
import type { TaskMessage } from '../../src/lib/task/message.js'
import { itOnSqlite } from '../helpers/databases.js'
import { until } from '../helpers/until.js'
import { idsOf, openStage, type Stage, sig } from '../helpers/workflows.js'
import { working } from '../helpers/working.js'
import { DAWN } from '../helpers/world.js'

const rowsOf = async ({ database }: Stage) =>
  (await database.all<{ n: number }>('SELECT (SELECT count(*) FROM task_result) + (SELECT count(*) FROM task_group) AS n', []))[0]?.n

/** The messages that wait, whichever database holds them. */
async function waiting(w: Stage): Promise<readonly TaskMessage[]> {
  const deliveries = await w.broker.receive(['default'], 100_000, 1000)
  await Promise.all(deliveries.map((delivery) => w.broker.reject(delivery, { requeue: true })))
  return deliveries.map(({ message }) => message)
}

describe('a workflow that is published', () => {
  it('shows the hooks every message it begins with, and none of those that follow', async () => {
    await using w = await openStage()
    const seen: string[] = []
    w.app.on('beforePublish', ({ id }) => {
      seen.push(`before ${id}`)
    })
    w.app.on('afterPublish', ({ id }) => {
      seen.push(`after ${id}`)
    })
    await w.send(
      chord(
        [sig('a', [], { taskId: 'a' }), chain([sig('b', [], { taskId: 'b' }), sig('c', [], { taskId: 'c' })])],
        sig('d', [], { taskId: 'd' }),
      ),
    )
    const begun = ['before a', 'before b', 'after a', 'after b']
    assert.deepEqual(seen, begun)
    for (const task of ['a', 'b', 'c', 'd']) w.app.task(task, () => 1)
    await using _ = working(w.app)
    await w.ended('a', 'b', 'c', 'd')
    assert.deepEqual(seen, begun) // nobody's own code runs in the commit that ends a task
  })

  it('is refused whole by a hook that throws', async () => {
    await using w = await openStage()
    w.app.on('beforePublish', ({ task }) => {
      if (task === 'b') throw new Error('not b')
    })
    await assert.rejects(w.send(chord([sig('a'), sig('b')], sig('c'))), /^Error: not b$/)
    assert.equal(await rowsOf(w), 0)
  })

  it('is refused whole by the terms it is published on', async () => {
    await using w = await openStage()
    const terms = { refusal: async () => 'not today' }
    await assert.rejects(
      w.send(group([sig('a'), sig('b')]), { terms }),
      (error) => error instanceof RefusedError && error.message === 'not today',
    )
    assert.equal(await rowsOf(w), 0)
  })

  for (const [what, taken] of [
    ['a task of it', chord([sig('a', [], { taskId: 'taken' })], sig('b'))],
    ['a later step', chain([sig('a'), group([sig('b'), sig('c', [], { taskId: 'taken' })])])],
    ['the body of a chord', chord([sig('a')], sig('b', [], { taskId: 'taken' }))],
    ['its group', { ...group([sig('a')]), groupId: 'taken group' }],
  ] as const) {
    it(`is refused whole when the id of ${what} is recorded already`, async () => {
      await using w = await openStage()
      await w.send({ ...group([sig('a', [], { taskId: 'taken' })]), groupId: 'taken group' })
      const before = await rowsOf(w)
      await assert.rejects(w.send(taken), TaskIdTakenError)
      assert.equal(await rowsOf(w), before)
    })
  }

  it('is refused when two of its tasks have one id', async () => {
    await using w = await openStage()
    const one = sig('a', [], { taskId: 'one' })
    await assert.rejects(
      w.send(chain([sig('a'), one, one])),
      (error) => error instanceof UsageError && /the id one occurs twice/.test(error.message),
    )
    assert.equal(await rowsOf(w), 0)
  })

  it('keeps the body of a chord once, and no message grows with it', async () => {
    await using w = await openStage()
    const large = 'x'.repeat(50_000)
    const link = [sig('c', [large])]
    const whole = await w.send(
      chord(
        Array.from({ length: 300 }, () => sig('a')),
        chain([sig('b', [large], { link }), sig('b', [large])]),
      ),
    )
    assert.equal(idsOf(whole).length, 302)
    for (const message of await waiting(w)) assert.ok(JSON.stringify(message).length < 1000)
    const [kept] = await w.database.all<{ task_rows: number; bodies: number }>(
      'SELECT (SELECT sum(length(options) + length(args)) FROM task_result) AS task_rows, (SELECT sum(length(body)) FROM task_group) AS bodies',
      [],
    )
    assert.ok(kept && kept.task_rows < 300 * 200 && kept.bodies < 160_000, JSON.stringify(kept))
  })

  itOnSqlite('of 10 000 members counts them, and its body has their results', async function () {
    this.timeout(120_000)
    await using w = await openStage({ settings: { concurrency: 100 } })
    w.app.task('same', (value: number) => value)
    w.app.task('last', (values: number[]) => [values.length, values.every((value, i) => value === i)])
    const header = Array.from({ length: 10_000 }, (_, i) => sig('same', [i]))
    const whole = await w.send(chord(header, sig('last')))
    await using _ = working(w.app)
    const body = idsOf(whole).at(-1) ?? ''
    await until(async () => (await w.statuses(body))[0] === 'SUCCESS', 'the body', 100_000)
    assert.deepEqual((await w.row(body)).result, [10_000, true])
  })

  it('holds a redacted value only where it still waits to be sent', async () => {
    const SECRET = 'the-secret'
    await using w = await openStage({ settings: { redact: ['kwargs.token'] } })
    const heard: unknown[] = []
    w.app.task('same', (value: unknown, kwargs?: { token?: string }) => {
      heard.push(kwargs?.token)
      return value
    })
    const secret = { ...sig('same'), kwargs: { token: SECRET } }
    const whole = await w.send(chain([{ ...secret, args: [1] }, secret, chord([secret, chain([secret, secret])], chain([secret, secret]))]))
    const kept = async () =>
      w.database.all(
        `SELECT task_id FROM task_result WHERE published_at IS NOT NULL AND (kwargs || options) LIKE '%${SECRET}%'
          UNION ALL SELECT group_id FROM task_group WHERE finished_at IS NOT NULL AND body LIKE '%${SECRET}%'`,
        [],
      )
    assert.deepEqual(await kept(), [])
    await using _ = working(w.app)
    await w.ended(...idsOf(whole))
    if (w.carrier) await until(async () => (await kept()).length === 0, 'the last confirms to be noted')
    assert.deepEqual(await kept(), [])
    assert.deepEqual(
      heard,
      idsOf(whole).map(() => SECRET),
    )
  })

  it('whose errback is redacted leaves a failed row for it when its task is revoked, for nobody can send it', async () => {
    await using w = await openStage({ settings: { redact: ['kwargs.token'] } })
    const errbacks = [{ ...sig('hear', [], { taskId: 'secret' }), kwargs: { token: 'the-secret' } }, sig('hear', [], { taskId: 'plain' })]
    const [id = ''] = idsOf(await w.send(sig('a', [], { linkError: errbacks })))
    await w.app.tasks.revoke([id])
    assert.deepEqual(await w.statuses(id, 'secret', 'plain'), ['REVOKED', 'FAILURE', 'PENDING'])
    assert.equal((await w.row('secret')).errorMessage, 'its arguments are redacted')
  })
})

describe('what follows a task, with a broker that is away', () => {
  it('is not lost with the process between the commit and the broker: a sender sends it, once', async () => {
    let armed = false
    const failpoint = async (name: FailpointName) => {
      if (armed && name === 'follow:recorded') throw new Error('the process is gone')
    }
    await using w = await openStage({ broker: 'outside', failpoint, now: () => DAWN, settings: { lease: 10 } })
    const ran: string[] = []
    w.app.task({ name: 'same', bind: true }, ({ request }, value: number) => {
      ran.push(request.id)
      return value
    })
    const whole = await w.send(chain([sig('same', [1]), sig('same')]))
    const [first = '', second = ''] = idsOf(whole)
    armed = true
    await using _ = working(w.app, { sender: false })
    await w.ended(first)
    await until(() => w.errors.length > 0, 'the end of the process')
    armed = false
    const { status, publishedAt } = await w.row(second)
    assert.deepEqual([status, publishedAt], ['PENDING', null])
    assert.deepEqual(
      (await w.app.tasks.findStale()).map(({ taskId, reason }) => [taskId, reason]),
      [[second, 'unpublished']],
    )
    w.clock.advance(10_001)
    for (const _ of [1, 2, 3]) await w.app.tasks.sendScheduled()
    await w.ended(second)
    for (const _ of [1, 2]) await w.app.tasks.sendScheduled()
    assert.deepEqual(ran, [first, second])
  })

  it('waits as a row while its broker is away, and the task has ended all the same', async () => {
    await using w = await openStage({ broker: 'outside', now: () => DAWN, settings: { lease: 10 } })
    w.app.task('same', (value: number) => value)
    const link = [sig('same', [], { taskId: 'callback', ignoreResult: true })] // it leaves no row once it has ended
    const whole = await w.send(chain([sig('same', [1], { link }), sig('same')]))
    const [first = '', second = ''] = idsOf(whole)
    const publish = w.broker.publish.bind(w.broker)
    w.broker.publish = () => Promise.reject(new Error('the broker is away'))
    await using _ = working(w.app, { sender: false })
    await w.ended(first)
    await until(() => w.errors.length > 0, 'the report')
    assert.match(String(w.errors[0]), /the broker is away/)
    assert.deepEqual(await w.statuses(second, 'callback'), ['PENDING', 'PENDING'])
    w.broker.publish = publish
    w.clock.advance(10_001)
    await w.app.tasks.sendScheduled()
    await w.ended(second)
    await until(async () => (await w.statuses('callback'))[0] === 'none', 'the callback to end')
  })
})
