import assert from 'node:assert/strict'
import { chain, chord, group } from '../../src/lib/app/canvas.js'
import type { AsyncResult } from '../../src/lib/app/result.js'
import type { ErrbackError, ErrbackRequest } from '../../src/lib/app/signature.js'
import { TaskError, TimeoutError } from '../../src/lib/app/task-error.js'
import { declareSums, SOON } from '../helpers/sums.js'
import { until } from '../helpers/until.js'
import { gate, working } from '../helpers/working.js'
import { openWorld, type World } from '../helpers/world.js'

const open = () => openWorld({ now: Date.now })

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

const idsOf = (result: AsyncResult) => result.lineage().map(({ id }) => id)

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
    assert.deepEqual(told[0], { id: result.id, task: 'fail', error, traced: true, extra: ['a', 'b'] })
    assert.equal(told[1], result.id)
    assert.deepEqual(told[2], { id: result.id, task: 'fail', error, traced: true, extra: ['c'] })
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
    await using w = await open()
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
    const door = gate()
    const slow = w.app.task('slow', async () => {
      await door.passed
      return 1
    })
    await using _ = working(w.app)
    const result = await chain(slow.s(), add.s(1), add.s(1)).applyAsync({ linkError: onId.s(), link: add.s(1) })
    await until(async () => (await w.app.tasks.list({ statuses: ['STARTED'] })).length === 1, 'the first step')
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

  it('the result of a chord whose header runs fails its body', async () => {
    await using w = await open()
    const { tsum } = declareSums(w.app)
    const door = gate()
    const slow = w.app.task('slow', async (n: number) => {
      await door.passed
      return n
    })
    await using _ = working(w.app)
    const result = await chord([slow.s(1), slow.s(2)], tsum.s()).applyAsync()
    await until(async () => (await w.app.tasks.list({ statuses: ['STARTED'] })).length === 2, 'the header')
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
    await until(async () => (await w.app.tasks.list({ statuses: ['STARTED'] })).length === 1, 'the first step')
    assert.equal((await result.revoke({ terminate: true })).revoked, true)
    await assert.rejects(result.get(SOON), { name: 'TaskRevokedError', message: 'terminated' })
    assert.deepEqual(await statuses(w, idsOf(result)), ['REVOKED', 'REVOKED'])
  })
})
