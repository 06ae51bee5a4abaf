import assert from 'node:assert/strict'
import { chain, chord, group } from '../../src/lib/app/canvas.js'
import type { Result } from '../../src/lib/app/lineage.js'
import type { AsyncResult } from '../../src/lib/app/result.js'
import type { Settings } from '../../src/lib/app/settings.js'
import type { AnySignature, ErrbackError, ErrbackRequest, Signature } from '../../src/lib/app/signature.js'
import { TaskError, TimeoutError } from '../../src/lib/app/task-error.js'
import { newTaskId } from '../../src/lib/task/id.js'
import { declareSums, SOON } from '../helpers/sums.js'
import { until } from '../helpers/until.js'
import { gate, working } from '../helpers/working.js'
import { openWorld, type World } from '../helpers/world.js'

const open = (settings: Partial<Settings> = {}) => openWorld({ now: Date.now, settings })

/** Errbacks of both kinds, and what they were told. */
function declareErrbacks({ app }: World) {
  const told: unknown[] = []
  const onError = app.task(
    { name: 'onError', errback: true },
    (request: ErrbackRequest, error: ErrbackError, traceback: string | null, ...extra: string[]) => {
      told.push({ id: request.id, task: request.task, error, traced: traceback !== null, extra })
    },
  )
  const onId = app.task('onId', (taskId: string) => void told.push(taskId))
  return { told, onError, onId, hears: (count: number) => until(() => told.length === count, `${count} errbacks`) }
}

/** A task that runs until the door is open. */
function declareSlow({ app }: World) {
  const door = gate()
  const slow = app.task('slow', async (n: number) => {
    await door.passed
    return n
  })
  return { slow, door }
}

const running = ({ app }: World, count: number) =>
  until(async () => (await app.tasks.list({ statuses: ['STARTED'] })).length === count, `${count} tasks to run`)

const idsOf = (result: Result) => result.lineage().map(({ id }) => id)

const statuses = async (w: World, ids: readonly string[]) => Promise.all(ids.map((id) => w.app.result(id).state()))

describe('an errback', () => {
  it('is told of the request, the error and the traceback before its own arguments, or of the id alone', async () => {
    await using w = await open()
    const { fail } = declareSums(w.app)
    const { told, onError, onId, hears } = declareErrbacks(w)
    await using _ = working(w.app)
    const byName = w.app.signature('onError').clone(['c'])
    const result = await fail.applyAsync([], { linkError: [onError.s('a', 'b'), onId.s(), byName] })
    await assert.rejects(result.get(SOON), /boom/)
    await hears(3)
    const error = { type: 'Error', message: 'boom' }
    const request = { id: result.id, task: 'fail', error, traced: true }
    assert.deepEqual(new Set(told), new Set([{ ...request, extra: ['a', 'b'] }, result.id, { ...request, extra: ['c'] }]))
  })

  it('of a chain is called once, for the step that failed; the steps after it end with its error', async () => {
    await using w = await open()
    const { add, fail } = declareSums(w.app)
    const { told, onError, hears } = declareErrbacks(w)
    await using _ = working(w.app)
    const result = await chain(add.s(1, 1), fail.s(), add.s(1), add.s(1)).applyAsync({ linkError: onError.s() })
    const ids = idsOf(result)
    const mine = (error: TaskError) => error instanceof TaskError && error.message === 'boom' && error.taskId === ids[1]
    await assert.rejects(result.get(SOON), mine)
    const returned = await result.get({ propagate: false })
    assert.ok(returned instanceof TaskError)
    assert.deepEqual([returned.message, returned.taskId], ['boom', result.id])
    await hears(1)
    assert.equal((told[0] as { id: string }).id, ids[1])
    assert.deepEqual(await statuses(w, ids), ['SUCCESS', 'FAILURE', 'FAILURE', 'FAILURE'])
  })

  it('of a chain in a chain is for its steps only', async () => {
    await using w = await open()
    const { add, fail } = declareSums(w.app)
    const { told, onId, hears } = declareErrbacks(w)
    await using _ = working(w.app)
    const inner = chain(add.s(1), add.s(1)).onError(onId.s())
    await assert.rejects((await chain(fail.s(), inner).applyAsync()).get(SOON), /boom/)
    const second = await chain(chain(fail.s(), add.s(1)).onError(onId.s()), add.s(1)).applyAsync()
    await assert.rejects(second.get(SOON), /boom/)
    await hears(1)
    assert.deepEqual(told, [idsOf(second)[0]])
  })

  it('of a chord is for its body, which fails with a ChordError while the rest of the header runs', async () => {
    await using w = await open()
    const { add, fail, tsum } = declareSums(w.app)
    const { told, onError, hears } = declareErrbacks(w)
    await using _ = working(w.app)
    const result = await chord([add.s(1, 1), fail.s(), add.s(2, 2)], tsum.s()).applyAsync({ linkError: onError.s() })
    const culprit = idsOf(result)[2]
    const message = `Dependency ${culprit} raised Error: boom`
    await assert.rejects(result.get(SOON), { name: 'ChordError', message })
    await hears(1)
    assert.deepEqual(told[0], { id: result.id, task: 'tsum', error: { type: 'ChordError', message }, traced: false, extra: [] })
    const header = await w.app.groupResult(result.parent?.id ?? '')
    assert.deepEqual(
      (await header?.get({ ...SOON, propagate: false }))?.map((value) => (value instanceof TaskError ? value.message : value)),
      [2, 'boom', 4],
    )
  })

  it('of a chord is also told of each task of its header that fails, with its own error, where the app allows that', async () => {
    await using w = await openWorld({ now: Date.now, settings: { allowErrorCbOnChordHeader: true } })
    const { add, fail, tsum, ident } = declareSums(w.app)
    const { told, onError } = declareErrbacks(w)
    const whole = chord([fail.s(), add.s(1, 1), fail.s()], tsum.s())
    const inner = chord([chord([fail.s()], tsum.s()), add.s(1, 1)], ident.s())
    const sent: readonly (readonly [() => Promise<Result>, string[]])[] = [
      [() => whole.applyAsync({ linkError: onError.s() }), ['fail', 'fail', 'tsum']],
      [() => whole.onError(onError.s()).applyAsync(), ['fail', 'fail', 'tsum']],
      [() => whole.onError(onError.s()).freeze().applyAsync(), ['fail', 'fail', 'tsum']],
      [() => chain(ident.s(1), group(fail.s(), ident.s()), ident.s()).onError(onError.s()).applyAsync(), ['fail', 'ident']],
      [() => inner.onError(onError.s()).applyAsync(), ['fail', 'ident', 'tsum']],
      [() => chord([fail.s()], tsum.s().onError(onError.s())).applyAsync(), ['tsum']], // its body's alone
    ]
    await using _ = working(w.app)
    for (const [send, tasks] of sent) {
      await assert.rejects((await send()).get(SOON), { name: 'ChordError' })
      await until(async () => told.length >= tasks.length && (await w.app.tasks.count({ open: true })) === 0, 'the errbacks')
      const heard = told.splice(0) as { task: string; error: { type: string } }[]
      assert.deepEqual(heard.map(({ task }) => task).sort(), tasks)
      for (const { task, error } of heard) assert.equal(error.type, task === 'fail' ? 'Error' : 'ChordError')
    }
  })

  it('of a task is handed on to the header of a chord that replaces it, where the app allows that', async () => {
    for (const allowErrorCbOnChordHeader of [true, false]) {
      await using w = await openWorld({ now: Date.now, settings: { allowErrorCbOnChordHeader } })
      const { fail, tsum } = declareSums(w.app)
      const { told, onError } = declareErrbacks(w)
      const host = w.app.task({ name: 'host', bind: true }, (task): number => {
        throw task.replace(chord([fail.s()], tsum.s()))
      })
      await using _ = working(w.app)
      const result = await host.applyAsync([], { linkError: onError.s() })
      await assert.rejects(result.get(SOON), { name: 'ChordError' })
      await until(async () => told.length > 0 && (await w.app.tasks.count({ open: true })) === 0, 'the errbacks')
      const tasks = told.map((one) => (one as { task: string }).task)
      assert.deepEqual(tasks.sort(), allowErrorCbOnChordHeader ? ['fail', 'tsum'] : ['tsum'])
    }
  })

  it('that any other task is declared as, or that another program runs, is a task with the failed one’s id, its child', async () => {
    await using w = await open()
    const { fail } = declareSums(w.app)
    const ids: unknown[] = []
    const bound = w.app.task({ name: 'bound', bind: true }, (_task, id: string, extra: string) => void ids.push([id, extra]))
    await using _ = working(w.app)
    const elsewhere = w.app.signature('elsewhere').clone(['a'], {}, { queue: 'elsewhere' })
    const outer = w.app.task('outer', async () => (await fail.applyAsync([], { linkError: [bound.s('b'), elsewhere] })).id)
    const root = await outer.delay()
    const failed = await root.get(SOON)
    await until(() => ids.length === 1, 'the bound one')
    assert.deepEqual(ids, [[failed, 'b']])
    for (const [task, extra] of [
      ['bound', 'b'],
      ['elsewhere', 'a'],
    ]) {
      const [row] = await w.app.tasks.list({ tasks: [task ?? ''] })
      assert.deepEqual([row?.args, row?.parentId, row?.rootId], [[failed, extra], failed, root.id])
    }
  })

  it('that throws fails as any task does, is told of, and changes nothing else', async () => {
    await using w = await open()
    const { add, fail } = declareSums(w.app)
    const failures: string[] = []
    w.app.on('failed', ({ task, error }) => failures.push(`${task}: ${error.message}`))
    const broken = w.app.task({ name: 'broken', errback: true }, (_request: ErrbackRequest): void => {
      throw new RangeError('broken')
    })
    const { told, onId, hears } = declareErrbacks(w)
    await using _ = working(w.app)
    const result = await chain(fail.s(), add.s(1)).applyAsync({ linkError: [broken.s(), onId.s()] })
    await assert.rejects(result.get(SOON), /boom/)
    await hears(1)
    await until(async () => (await w.app.tasks.count({ open: true })) === 0, 'everything to end')
    await until(() => failures.length === 2, 'the events')
    assert.deepEqual(failures.sort(), ['broken: broken', 'fail: boom'])
    assert.deepEqual([told, await statuses(w, idsOf(result))], [[idsOf(result)[0]], ['FAILURE', 'FAILURE']])
    assert.deepEqual(await w.app.tasks.count(), 4)
    assert.deepEqual(w.errors, [])
  })

  it('of a chain that begins with a group works like that of any chain', async () => {
    await using w = await open()
    const { add, fail, tsum } = declareSums(w.app)
    const { told, onId, hears } = declareErrbacks(w)
    await using _ = working(w.app)
    const result = await chain(group(add.s(1, 1), fail.s()), tsum.s()).applyAsync({ linkError: onId.s() })
    await assert.rejects(result.get(SOON), { name: 'ChordError' })
    await hears(1)
    assert.deepEqual(told, [result.id])
  })

  it('hears of a chain that expired at its head, every step of which is REVOKED then', async () => {
    await using w = await open({ lease: 3 }) // RabbitMQ drops what has expired, and a sender looks for that once a lease
    const { add } = declareSums(w.app)
    const { told, onId, hears } = declareErrbacks(w)
    const result = await chain(add.s(1, 1), add.s(1)).applyAsync({ expires: new Date(Date.now() - 1), linkError: onId.s() })
    await using _ = working(w.app)
    await assert.rejects(result.get(SOON), { name: 'TaskRevokedError', message: 'expired' })
    await hears(1)
    assert.deepEqual([told, await statuses(w, idsOf(result))], [[idsOf(result)[0]], ['REVOKED', 'REVOKED']])
  })
})

describe('get()', () => {
  it('inside a task is refused, unless it is allowed', async () => {
    await using w = await open()
    const { add } = declareSums(w.app)
    const bad = w.app.task('bad', async () => (await add.delay(1, 1)).get())
    const worse = w.app.task('worse', async () => (await group(add.s(1, 1)).applyAsync()).get())
    const good = w.app.task('good', async () => (await add.delay(1, 1)).get({ ...SOON, disableSyncSubtasks: false }))
    await using _ = working(w.app)
    for (const task of [bad, worse]) {
      await assert.rejects((await task.delay()).get(SOON), { name: 'UsageError', message: 'Never call result.get() within a task!' })
    }
    assert.equal(await (await good.delay()).get(SOON), 2)
  })

  it('of a task that is due later times out, and the task runs later', async () => {
    await using w = await openWorld({ now: Date.now })
    const { add } = declareSums(w.app)
    await using _ = working(w.app)
    const result = await add.s(1, 1).applyAsync({ countdown: 30 })
    await assert.rejects(result.get({ timeout: 0.05 }), TimeoutError)
    w.clock.advance(31_000)
    assert.equal(await result.get(SOON), 2)
  })
})

describe('forgetting the result of a chain', () => {
  it('deletes its record and those of its parents', async () => {
    await using w = await open()
    const { add } = declareSums(w.app)
    await using _ = working(w.app)
    const result = await chain(add.s(1, 1), add.s(1), add.s(1)).applyAsync()
    await result.get(SOON)
    await result.forget()
    assert.deepEqual(await w.app.tasks.list(), [])
    const waiting = await chain(add.s(1, 1), add.s(1)).applyAsync({ queue: 'nobody' })
    await waiting.forget() // there is no record of it yet
    await assert.rejects(waiting.parent?.forget() ?? Promise.resolve(), /has not ended; its record cannot be forgotten yet$/)
  })
})

describe('revoking', () => {
  it('the result of a chain revokes all of it', async () => {
    await using w = await open()
    const { add } = declareSums(w.app)
    const { told, onId, hears } = declareErrbacks(w)
    const result = await chain(add.s(1, 1), add.s(1), group(add.s(1), add.s(2)), add.si(1, 1)).applyAsync({ linkError: onId.s() })
    assert.deepEqual(await result.revoke(), { taskId: result.id, task: 'add', revoked: true, error: null })
    const rows = await w.app.tasks.list({ tasks: ['add'] })
    assert.deepEqual(
      rows.map(({ status }) => status),
      ['REVOKED', 'REVOKED', 'REVOKED', 'REVOKED', 'REVOKED'],
    )
    await using _ = working(w.app)
    await assert.rejects(result.get(SOON), { name: 'TaskRevokedError', message: 'revoked' })
    await hears(1)
    assert.deepEqual(told, [result.lineage()[0]?.id])
    assert.deepEqual(await result.revoke(), { taskId: result.id, task: 'add', revoked: false, error: 'it has ended REVOKED' })
  })

  it('the result of a chain whose step runs lets that end, and nothing follows it', async () => {
    await using w = await open()
    const { add } = declareSums(w.app)
    const { told, onId, hears } = declareErrbacks(w)
    const { slow, door } = declareSlow(w)
    await using _ = working(w.app)
    const result = await chain(slow.s(1), add.s(1), add.s(1)).applyAsync({ linkError: onId.s(), link: add.s(1) })
    await running(w, 1)
    assert.equal((await result.revoke()).revoked, true)
    door.open()
    const ids = result.lineage().map(({ id }) => id)
    await until(() => w.app.result(ids[0] ?? '').ready(), 'its end')
    assert.deepEqual(await statuses(w, ids), ['SUCCESS', 'REVOKED', 'REVOKED'])
    assert.equal((await w.app.tasks.list()).length, 3)
    await add.applyAsync([1, 1], { link: onId.si('flag') })
    await hears(1)
    assert.deepEqual(told, ['flag'])
  })

  it('a step that is not sent yet, while the one before it runs, ends it and all after it', async () => {
    await using w = await open()
    const { add } = declareSums(w.app)
    const { told, onId, hears } = declareErrbacks(w)
    const { slow, door } = declareSlow(w)
    await using _ = working(w.app)
    const result = await chain(slow.s(1), add.s(1), add.s(2), add.s(3)).applyAsync({ linkError: onId.s() })
    await running(w, 1)
    const second = result.lineage()[1] as AsyncResult
    assert.equal((await second.revoke()).revoked, true)
    assert.deepEqual(await statuses(w, idsOf(result)), ['STARTED', 'REVOKED', 'REVOKED', 'REVOKED'])
    door.open()
    await assert.rejects(result.get(SOON), { name: 'TaskRevokedError', message: 'revoked' })
    await until(() => result.lineage()[0]?.successful() ?? false, 'the step that ran')
    await add.applyAsync([1, 1], { link: onId.si('flag') })
    await hears(1)
    assert.deepEqual(told, ['flag'], 'no step that ran ended badly, so no errback is told')
  })

  it('the result of a chord whose header runs fails its body', async () => {
    await using w = await open()
    const { tsum } = declareSums(w.app)
    const { slow, door } = declareSlow(w)
    await using _ = working(w.app)
    const result = await chord([slow.s(1), slow.s(2)], tsum.s()).applyAsync()
    await running(w, 2)
    assert.deepEqual(await result.revoke(), { taskId: result.id, task: 'tsum', revoked: true, error: null })
    door.open()
    await assert.rejects(result.get(SOON), { name: 'ChordError', message: /raised TaskRevokedError: revoked$/ })
    assert.deepEqual(await result.parent?.get(SOON), [1, 2])
  })

  it('finds the task that was sent in the place of a scheduled step', async () => {
    await using w = await openWorld()
    const { add } = declareSums(w.app)
    const result = await chain(add.s(1, 1).set({ countdown: 60 }), add.s(1)).applyAsync()
    w.clock.advance(61_000)
    const [sent] = await w.sender.sendDue()
    assert.equal((await result.revoke()).revoked, true)
    assert.deepEqual(await statuses(w, [sent?.newTaskId ?? '', result.id]), ['REVOKED', 'REVOKED'])
  })

  it('a step that has not been sent revokes what is before it, and all of the workflow with that', async () => {
    await using w = await open()
    const { add } = declareSums(w.app)
    const result = await chain(add.s(1, 1), add.s(1), add.s(1)).applyAsync()
    assert.deepEqual(await result.parent?.revoke(), { taskId: result.parent?.id, task: 'add', revoked: true, error: null })
    assert.deepEqual(await statuses(w, idsOf(result)), ['REVOKED', 'REVOKED', 'REVOKED'])
  })

  it('a group that has not begun revokes what is before it, and each of its members', async () => {
    await using w = await open()
    const { add } = declareSums(w.app)
    const result = await chain(add.s(1, 1), group(add.s(1), chain(add.s(2), add.s(3)))).applyAsync()
    assert.deepEqual(
      (await result.revoke()).map(({ revoked }) => revoked),
      [true, true],
    )
    assert.deepEqual([await result.counts(), await result.parent?.failed(), await result.ready()], [{ REVOKED: 2 }, false, true])
    assert.equal(await w.app.tasks.count({ open: true }), 0)
  })

  it('a group revokes what of it has not begun, and says which', async () => {
    await using w = await open()
    const { add } = declareSums(w.app)
    const result = await group(add.s(1, 1), chain(add.s(2, 2), add.s(1))).applyAsync()
    const [first, last] = result.results
    assert.ok(first && last)
    assert.deepEqual(await result.revoke(), [
      { taskId: first.id, task: 'add', revoked: true, error: null },
      { taskId: last.id, task: 'add', revoked: true, error: null },
    ])
    assert.deepEqual(await result.counts(), { REVOKED: 2 })
    assert.deepEqual(
      await statuses(
        w,
        last.lineage().map(({ id }) => id),
      ),
      ['REVOKED', 'REVOKED'],
    )
  })

  it('with terminate stops a step that runs, and all that would follow', async () => {
    await using w = await open()
    const { add } = declareSums(w.app)
    const slow = w.app.task({ name: 'slow', bind: true }, async ({ signal }): Promise<number> => {
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
      return 1
    })
    await using _ = working(w.app)
    const result = await chain(slow.s(), add.s(1)).applyAsync()
    await running(w, 1)
    assert.equal((await result.revoke({ terminate: true })).revoked, true)
    await assert.rejects(result.get(SOON), { name: 'TaskRevokedError', message: 'terminated' })
    assert.deepEqual(await statuses(w, idsOf(result)), ['REVOKED', 'REVOKED'])
  })
})

describe('revoking by the id alone', () => {
  /** Sends a workflow, and revokes it with nothing but an id of it. */
  const revoked = async (w: World, whole: AnySignature, pick: (ids: readonly string[]) => string | undefined) => {
    const result = await (whole as Signature<[], unknown, Result>).applyAsync()
    const taskId = pick(result.lineage().map(({ id }) => id)) ?? ''
    const { app } = await w.join()
    const [answer] = await app.tasks.revoke([taskId])
    assert.deepEqual([answer?.taskId, answer?.revoked, answer?.error], [taskId, true, null])
    return result
  }

  for (const [what, at] of [
    ['second', 1],
    ['last', 2],
  ] as const) {
    it(`the ${what} step of a chain, before it was sent, ends the whole of it`, async () => {
      await using w = await open()
      const { add } = declareSums(w.app)
      for (const other of [1, 2]) await add.delay(other, other)
      const result = await revoked(w, chain(add.s(1, 1), add.s(1), add.s(1)), (ids) => ids[at])
      assert.deepEqual(await statuses(w, idsOf(result)), ['REVOKED', 'REVOKED', 'REVOKED'])
      assert.equal(await w.app.tasks.count({ open: true }), 2) // those of others
    })
  }

  it('the body of a chord, or a step after it, ends the header and all behind it, also where chords and chains are nested', async () => {
    await using w = await open()
    const { add, tsum, ident } = declareSums(w.app)
    const inner = chord([add.s(1), chain(add.s(1), add.s(1))], tsum.s())
    const wholes = [
      chord([add.s(1, 1), add.s(2, 2)], chain(tsum.s(), add.s(1))),
      chain(add.s(1, 1), chord([chain(add.s(1), add.s(1)), inner], chain(ident.s(), ident.s()))),
      chord([chain(add.s(1, 1), add.s(1)), chord([chain(add.s(1, 1), add.s(1))], tsum.s())], ident.s()),
    ]
    for (const whole of wholes) {
      const result = await revoked(w, whole, (ids) => ids.at(-1))
      assert.equal(await result.ready(), true)
      assert.equal(await w.app.tasks.count({ open: true }), 0)
    }
  })

  it('the last step while the first runs lets that end, and nothing follows it', async () => {
    await using w = await open()
    const { add } = declareSums(w.app)
    const { slow, door } = declareSlow(w)
    await using _ = working(w.app)
    const result = await chain(slow.s(1), add.s(1), add.s(1)).applyAsync()
    await running(w, 1)
    assert.equal((await w.app.tasks.revoke([result.id]))[0]?.revoked, true)
    door.open()
    await until(() => result.parent?.parent?.ready(), 'its end')
    assert.deepEqual(await statuses(w, idsOf(result)), ['SUCCESS', 'REVOKED', 'REVOKED'])
  })

  it('finds no task for an id that no workflow has, or that was chosen by hand and has no row yet', async () => {
    await using w = await open()
    const { add } = declareSums(w.app)
    await chain(add.s(1, 1), add.s(1).freeze('by hand')).applyAsync()
    for (const taskId of ['by hand', newTaskId()]) {
      const answer = { taskId, task: null, revoked: false, error: 'there is no task of this id' }
      assert.deepEqual(await w.app.tasks.revoke([taskId]), [answer])
    }
    assert.equal(await w.app.tasks.count({ open: true }), 1)
  })
})
