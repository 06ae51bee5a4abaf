import assert from 'node:assert/strict'
import type { EventsOfTask, TaskEvent } from '../../src/lib/celery/events.js'
import { copyOf } from '../../src/lib/publish/resend.js'
import type { TaskMessage } from '../../src/lib/task/message.js'
import type { Canvas } from '../../src/lib/task/signature.js'
import { recordEvents } from '../../src/lib/watch/record.js'
import { A, B, events, failed, received, started, succeeded } from '../helpers/celery-events.js'
import { REDIS } from '../helpers/celery-stage.js'
import { putRow } from '../helpers/rows.js'
import { needs } from '../helpers/services.js'
import { as, CLUSTER, see, termsOf } from '../helpers/watching.js'
import { answerOf, idsOf, openStage, type Stage, sig } from '../helpers/workflows.js'
import { DAWN } from '../helpers/world.js'

const T = DAWN / 1000

const open = () => openStage({ broker: 'outside', now: () => DAWN })

const chain = (...steps: Canvas[]): Canvas => ({ kind: 'chain', steps })
const chord = (header: Canvas[], body: Canvas): Canvas => ({ kind: 'chord', header, body })

/** The life of a task, up to this end of it. */
const life = (end: TaskEvent[], host = A) => [...events(received(T - 3, 0, host), started(T - 2, host)), ...end]
const GOOD = life(events(succeeded(T - 1)))
const BAD = life(events(failed(T - 1)))
const REVOKED = events(['task-revoked', T - 1, A, { terminated: false, signum: null, expired: false }])
const UNKNOWN = events(['task-failed', T - 1, A, { exception: "NotRegistered('py.a')" }])
const UNREADABLE = events(['task-succeeded', T - 1, A, { result: '<User: Ada>' }])

/** The ids of the messages of a task that are at the broker. */
async function messages({ messages: at }: Stage, task: string): Promise<string[]> {
  const rows = await at.all<{ body: string }>('SELECT body FROM task_message ORDER BY id', [])
  return rows.map(({ body }) => JSON.parse(body) as TaskMessage).flatMap((message) => (message.task === task ? [message.id] : []))
}

describe('after a task that a Celery worker has run', () => {
  it('Celery sends the callbacks and the next step, and nobody here does', async () => {
    await using w = await open()
    const [a = '', b = ''] = idsOf(
      await w.send(chain(sig('py.a', [], { link: [sig('py.link')], linkError: [sig('py.err')] }), sig('py.b'))),
    )
    await see(w, as(a, GOOD))
    assert.deepEqual(await w.statuses(a, b), ['SUCCESS', 'none'])
    assert.deepEqual([await messages(w, 'py.b'), await messages(w, 'py.link'), await messages(w, 'py.err')], [[], [], []])
  })

  it('that has failed, the steps that will never run end as it did, and Celery calls its errbacks', async () => {
    await using w = await open()
    const last = chord([sig('c', [], { taskId: 'c' })], sig('d', [], { taskId: 'd' }))
    const [a = '', b = ''] = idsOf(await w.send(chain(sig('py.a', [], { linkError: [sig('py.err')] }), sig('py.b'), last)))
    await see(w, as(a, BAD))
    await see(w, as(a, BAD))
    assert.deepEqual(await w.statuses(a, b, 'c', 'd'), ['FAILURE', 'FAILURE', 'FAILURE', 'FAILURE'])
    const row = await w.row(b)
    assert.deepEqual([row.errorType, row.errorMessage, row.options.settledBy], ['ValueError', 'boom', a])
    await assert.rejects(w.app.result('d').get(), { name: 'ValueError', message: 'boom' })
    assert.deepEqual(await messages(w, 'py.err'), [])
  })

  for (const [name, end, status] of [
    ['was revoked or has expired', REVOKED, 'REVOKED'],
    ['no worker of its queue knows', UNKNOWN, 'FAILURE'],
  ] as const) {
    it(`that ${name}, its errbacks are called here, once: Celery calls none then`, async () => {
      await using w = await open()
      const [a = '', b = ''] = idsOf(await w.send(chain(sig('py.a', [], { linkError: [sig('py.err')] }), sig('py.b'))))
      await see(w, as(a, end))
      await see(w, as(a, end))
      assert.deepEqual(await w.statuses(a, b), [status, status])
      const [errback = '', ...others] = await messages(w, 'py.err')
      assert.deepEqual([(await w.row(errback)).args, (await w.row(errback)).parentId, others], [[a], a, []])
    })
  }

  it('it arrives in its group, and the last of a chord’s header has the body sent with the results', async () => {
    await using w = await open()
    const sent = await w.send(chord([sig('py.a'), chain(sig('py.b'), sig('node.c'))], sig('node.body')))
    const [a = '', b = '', c = ''] = idsOf(sent)
    await see(w, as(a, GOOD))
    await see(w, as(b, GOOD))
    assert.deepEqual(await messages(w, 'node.body'), [])
    await putRow(w.database, { task_id: c, status: 'SUCCESS', result: '7' }) // as a worker of ours ends it
    const member = { ...(await w.row(a)), taskId: c, groupIndex: 1 }
    await w.database
      .write((sql) => w.follower.followRow(sql, member, { status: 'SUCCESS', value: 7 }))
      .then((left) => w.follower.send(left))
    assert.deepEqual(await messages(w, 'node.body'), [answerOf(sent)])
    assert.deepEqual((await w.row(answerOf(sent))).args, [[4, 7]])
  })

  it('that has failed, the body of its chord fails, and what it returned is of no use', async () => {
    await using w = await open()
    const sent = await w.send(chord([sig('py.a'), chain(sig('py.b'), sig('py.c'))], sig('node.body', [], { linkError: [sig('node.err')] })))
    const [a = '', b = '', c = ''] = idsOf(sent)
    await see(w, as(a, GOOD))
    await see(w, as(b, BAD))
    assert.deepEqual(await w.statuses(a, b, c, answerOf(sent)), ['SUCCESS', 'FAILURE', 'FAILURE', 'FAILURE'])
    const body = await w.row(answerOf(sent))
    assert.deepEqual([body.errorType, body.errorMessage], ['ChordError', `Dependency ${b} raised ValueError: boom`])
    assert.equal((await messages(w, 'node.err')).length, 1)
  })

  it('with a result that Celery shows only in part, the body of its chord fails instead of getting another', async () => {
    await using w = await open()
    const sent = await w.send(chord([sig('py.a'), sig('py.b')], sig('node.body')))
    const [a = '', b = ''] = idsOf(sent)
    await see(w, as(a, UNREADABLE))
    await see(w, as(b, GOOD))
    const body = await w.row(answerOf(sent))
    assert.deepEqual(
      [body.status, body.errorMessage],
      ['FAILURE', `Dependency ${a} raised UnreadableResult: its result cannot be told exactly from what Celery showed of it`],
    )
    assert.deepEqual(await messages(w, 'node.body'), [])
  })

  it('an errback whose arguments the ledger may not keep fails unsent', async () => {
    await using w = await openStage({ broker: 'outside', now: () => DAWN, settings: { redact: ['kwargs.token'] } })
    const secret: Canvas = { ...sig('py.err'), kwargs: { token: 's3cret' } }
    const [a = ''] = idsOf(await w.send(sig('py.a', [], { linkError: [secret] })))
    await see(w, as(a, REVOKED))
    const [errback] = await w.app.tasks.list({ tasks: ['py.err'] })
    assert.deepEqual([errback?.status, errback?.errorType, await messages(w, 'py.err')], ['FAILURE', 'UnsendableRowError', []])
  })
})

describe('a client of Celery’s', () => {
  before(function () {
    return needs(this, 'Redis')
  })

  for (const [end, name, told] of [
    [BAD, 'is told by Celery that a step has failed, and that so have those after it', []],
    [REVOKED, 'is told here of the steps after one that was revoked: Celery tells of that one alone', ['b']],
  ] as const) {
    it(name, async () => {
      await using w = await openStage({ now: () => DAWN, settings: { celeryResults: REDIS } })
      const [a = ''] = idsOf(await w.send(chain(sig('py.a'), sig('py.b', [], { taskId: 'b' }))))
      const task = as(a, end) as unknown as EventsOfTask
      const { unsent } = await w.database.write((sql) => recordEvents(sql, task, CLUSTER, termsOf(w.follower), false, DAWN))
      assert.deepEqual(await w.statuses('b'), [end === BAD ? 'FAILURE' : 'REVOKED'])
      assert.deepEqual(
        unsent.map((one) => one.kind === 'end' && one.end.taskId),
        told,
      )
    })
  }
})

describe('a later step of our workflow that Celery has sent', () => {
  it('has a row as of any watched task, which knows what is left of the workflow', async () => {
    await using w = await open()
    const [a = '', b = '', c = ''] = idsOf(
      await w.send(chain(sig('py.a'), sig('py.b', [], { headers: { n: 1 }, priority: 4 }), sig('py.c'))),
    )
    await see(w, as(a, GOOD))
    assert.equal(await see(w, as(b, life([], B), a)), 'recorded')
    const row = await w.row(b)
    assert.deepEqual([row.status, row.workerId, row.parentId, row.priority, row.options.watched], ['STARTED', B, a, 4, CLUSTER])
    assert.deepEqual([row.options.headers, row.options.chain?.flatMap(idsOf)], [{ n: 1 }, [c]])
    await see(w, as(b, events(succeeded(T, B))))
    await see(w, as(c, GOOD, b))
    assert.deepEqual(await w.statuses(a, b, c), ['SUCCESS', 'SUCCESS', 'SUCCESS'])
    assert.equal(await w.app.result(c).get(), 4)
    assert.equal((await w.row(c)).options.chain, undefined)
  })

  it('that has failed ends those after it, and the chord it counts in', async () => {
    await using w = await open()
    const sent = await w.send(chord([chain(sig('py.a'), sig('py.b', [], { linkError: [sig('py.err')] }), sig('py.c'))], sig('node.body')))
    const [a = '', b = '', c = ''] = idsOf(sent)
    await see(w, as(a, GOOD))
    await see(w, as(b, BAD, a))
    assert.deepEqual(await w.statuses(b, c, answerOf(sent)), ['FAILURE', 'FAILURE', 'FAILURE'])
    assert.deepEqual([(await w.row(c)).options.settledBy, await messages(w, 'py.err')], [b, []])
  })

  it('arrives in the group that its chain ends in', async () => {
    await using w = await open()
    const sent = await w.send(chord([chain(sig('py.a'), sig('py.b'))], sig('node.body')))
    const [a = '', b = ''] = idsOf(sent)
    await see(w, as(a, GOOD))
    await see(w, as(b, GOOD, a))
    assert.deepEqual([(await w.row(answerOf(sent))).args, (await w.row(b)).groupIndex], [[[4]], 0])
    assert.deepEqual(await messages(w, 'node.body'), [answerOf(sent)])
  })

  it('is waited for a moment until the step before it is heard of, and asked for once more at its end', async () => {
    await using w = await open()
    const [a = '', b = '', c = '', d = ''] = idsOf(await w.send(chain(sig('py.a'), sig('py.b'), sig('py.c'), sig('py.d'))))
    await see(w, as(a, GOOD))
    assert.equal(await see(w, as(c, life([]), b), { patient: true }), 'early')
    assert.equal(await see(w, as(c, life([]), b)), 'recorded')
    await see(w, as(b, life([]), a))
    await see(w, as(c, events(failed(T))))
    assert.deepEqual(await w.statuses(a, b, c, d), ['SUCCESS', 'STARTED', 'FAILURE', 'FAILURE'])
  })

  it('is sent again with what was to follow it', async () => {
    await using w = await open()
    const [a = '', b = '', c = ''] = idsOf(await w.send(chain(sig('py.a'), sig('py.b'), sig('py.c'))))
    await see(w, as(a, GOOD))
    await see(w, as(b, BAD, a))
    const row = await w.row(b)
    const copy = copyOf(row, {}, DAWN)
    assert.deepEqual(
      [copy.args, copy.options.watched, copy.options.chain?.map((step) => step.kind === 'task' && step.task)],
      [[2, 2], CLUSTER, ['py.c']],
    )
    assert.ok(!copy.options.chain?.flatMap(idsOf).includes(c))
  })

  it('is not sent again without what the ledger may not keep of those after it', async () => {
    await using w = await openStage({ broker: 'outside', now: () => DAWN, settings: { redact: ['kwargs.token'] } })
    const secret: Canvas = { ...sig('py.c'), kwargs: { token: 's3cret' } }
    const [a = '', b = ''] = idsOf(await w.send(chain(sig('py.a'), sig('py.b'), secret)))
    await see(w, as(a, GOOD))
    await see(w, as(b, life([]), a))
    await see(w, as(b, events(failed(T))))
    const row = await w.row(b)
    assert.throws(() => copyOf(row, {}, DAWN), /its arguments are redacted \(kwargs.token\)/)
  })

  it('that only a task’s own body has published is no part of it', async () => {
    await using w = await open()
    const [a = '', b = ''] = idsOf(await w.send(chain(sig('py.a'), sig('py.b'))))
    await see(w, as('child', BAD, a))
    assert.deepEqual([(await w.row('child')).options, await w.statuses(a, b)], [{ watched: CLUSTER }, ['PENDING', 'none']])
  })
})
