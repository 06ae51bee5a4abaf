import assert from 'node:assert/strict'
import { chain, chord, group } from '../../src/lib/app/canvas.js'
import { GroupResult } from '../../src/lib/app/group-result.js'
import { TaskError, TimeoutError } from '../../src/lib/app/task-error.js'
import { itOnSqlBroker } from '../helpers/databases.js'
import { declareSums, range, SOON } from '../helpers/sums.js'
import { until } from '../helpers/until.js'
import { working } from '../helpers/working.js'
import { openWorld } from '../helpers/world.js'

const open = () => openWorld({ now: Date.now })

const shown = (values: readonly unknown[]) => values.map((value) => (value instanceof TaskError ? value.message : value))

describe('the results of a group', () => {
  it('with one that failed throw its error, or have it in its place', async () => {
    await using w = await open()
    const { add, fail } = declareSums(w.app)
    await using _ = working(w.app)
    const result = await group(add.s(1, 1), fail.s(), add.s(2, 2)).applyAsync()
    assert.deepEqual(shown(await result.get({ ...SOON, propagate: false })), [2, 'boom', 4])
    const failed = result.results[1]?.id
    await assert.rejects(result.get(SOON), (error: TaskError) => error.message === 'boom' && error.taskId === failed)
    assert.deepEqual(
      [await result.ready(), await result.waiting(), await result.successful(), await result.failed(), await result.completedCount()],
      [true, false, false, true, 2],
    )
    assert.deepEqual(await result.counts(), { SUCCESS: 2, FAILURE: 1 })
  })

  it('throw an error as soon as one has it, whatever the others do', async () => {
    await using w = await open()
    const { add, fail } = declareSums(w.app)
    const result = await group(add.s(1, 1).set({ queue: 'nobody' }), fail.s()).applyAsync()
    await using _ = working(w.app)
    await assert.rejects(result.get(SOON), /boom/)
    assert.deepEqual([await result.ready(), await result.waiting(), await result.counts()], [false, true, { PENDING: 1, FAILURE: 1 }])
    await assert.rejects(result.join({ timeout: 0.05, propagate: false }), TimeoutError)
  })

  it('are a list of the results of its tasks, which are its children', async () => {
    await using w = await open()
    const { add } = declareSums(w.app)
    const result = await group(add.s(1, 1), add.s(2, 2)).applyAsync()
    assert.equal(result.length, 2)
    assert.deepEqual([...result], result.results)
    assert.deepEqual(await result.children(), result.results)
  })

  it('are found again by the id of the group, until its record is deleted', async () => {
    await using w = await open()
    const { add } = declareSums(w.app)
    const result = await group(range(3).map((i) => add.s(i, i))).applyAsync()
    const { app } = await w.join()
    const found = await app.groupResult<number[]>(result.id)
    assert.deepEqual(
      found?.results.map(({ id }) => id),
      result.results.map(({ id }) => id),
    )
    await result.save()
    await assert.rejects(result.delete(), /^PlainError: group .* has not ended; it cannot be deleted yet$/)
    await using _ = working(w.app)
    assert.deepEqual(await found?.get(SOON), [0, 2, 4])
    await result.delete()
    await result.delete()
    assert.equal(await app.groupResult(result.id), null)
    await assert.rejects(result.save(), /was deleted$/)
    assert.deepEqual(await result.get(SOON), [0, 2, 4])
    assert.equal(await app.groupResult('nobody'), null)
  })

  it('of a group that comes later in a workflow wait for it to begin; by its id alone nothing is known until then', async () => {
    await using w = await open()
    const { add, ident } = declareSums(w.app)
    const plain = await chain(add.s(1, 1), group(add.s(1), chain(add.s(2), add.s(3)))).applyAsync()
    const chorded = await chain(add.s(1, 1), group(add.s(1), add.s(2)), ident.s()).applyAsync()
    const header = chorded.parent
    assert.ok(plain instanceof GroupResult && header instanceof GroupResult)
    for (const later of [plain, header]) {
      assert.deepEqual(
        [await later.ready(), await later.waiting(), await later.successful(), await later.failed(), await later.completedCount()],
        [false, true, false, false, 0],
      )
      assert.deepEqual([await later.counts(), later.length], [{ PENDING: 2 }, 2])
      await assert.rejects(later.get({ timeout: 0.05 }), TimeoutError)
      assert.equal(await w.app.groupResult(later.id), null)
      await later.save()
      await assert.rejects(later.delete(), /has not ended; it cannot be deleted yet$/)
      await later.forget()
    }
    await using _ = working(w.app)
    assert.deepEqual(
      [await plain.get(SOON), await header.get(SOON), await chorded.get(SOON)],
      [
        [3, 7],
        [3, 4],
        [3, 4],
      ],
    )
    const found = await w.app.groupResult(plain.id)
    assert.deepEqual([await found?.get(SOON), await found?.ready()], [[3, 7], true])
  })

  it('of a group that will never begin are those of the step that stopped it', async () => {
    await using w = await open()
    const { add, fail } = declareSums(w.app)
    await using _ = working(w.app)
    const result = await chain(fail.s(), group(add.s(1), add.s(2))).applyAsync()
    await assert.rejects(result.get(SOON), /boom/)
    assert.deepEqual([await result.ready(), await result.failed(), await result.counts()], [true, true, { FAILURE: 2 }])
    assert.deepEqual(await (await w.app.groupResult(result.id))?.counts(), { FAILURE: 2 })
  })

  it('of the header of a chord are found by its id, too', async () => {
    await using w = await open()
    const { add, tsum } = declareSums(w.app)
    await using _ = working(w.app)
    const result = await chord([add.s(1, 1), chain(add.s(1, 1), add.s(5))], tsum.s()).applyAsync()
    assert.equal(await result.get(SOON), 9)
    const header = await w.app.groupResult(result.parent?.id ?? '')
    assert.deepEqual(await header?.get(SOON), [2, 7])
  })

  it('are forgotten with those of their parents', async () => {
    await using w = await open()
    const { add } = declareSums(w.app)
    await using _ = working(w.app)
    const result = await chain(add.s(1, 1), group(add.s(1), chain(add.s(2), add.s(3)))).applyAsync()
    assert.deepEqual(await result.get(SOON), [3, 7])
    await result.forget()
    assert.deepEqual(await w.app.tasks.list(), [])
    const waiting = await group(add.s(1, 1).set({ queue: 'nobody' }), add.s(1, 1)).applyAsync()
    await until(async () => (await waiting.completedCount()) === 1, 'one of them')
    await waiting.forget()
    assert.deepEqual(
      (await w.app.tasks.list()).map(({ status }) => status),
      ['PENDING'],
    )
  })

  it('are followed to the tasks that were sent in the place of scheduled ones', async () => {
    await using w = await open()
    const { add } = declareSums(w.app)
    const result = await group(add.s(1, 1), add.s(2, 2).set({ countdown: 60 })).applyAsync()
    await using _ = working(w.app)
    await until(async () => (await result.completedCount()) === 1, 'one of them')
    assert.deepEqual(await result.counts(), { SUCCESS: 1, SCHEDULED: 1 })
    const waiting = result.get(SOON)
    w.clock.advance(61_000)
    assert.deepEqual(await waiting, [2, 4])
    assert.deepEqual([await result.counts(), await result.successful()], [{ SUCCESS: 2 }, true])
  })

  // how they are asked for is the ledger's business alone
  itOnSqlBroker('of thousands are asked for together', async function () {
    this.timeout(90_000)
    await using w = await open()
    const { ident } = declareSums(w.app)
    const count = 2000
    const result = await group(range(count).map((i) => ident.s(i))).applyAsync()
    await using _ = working(w.app, { concurrency: 50 })
    const { app } = await w.join()
    const database = await app.database()
    let asked = 0
    const asking = database.all
    database.all = (text, bindings) => {
      asked += 1
      return asking.call(database, text, bindings) as never
    }
    const values = await (await app.groupResult<number[]>(result.id))?.get({ timeout: 60 })
    assert.deepEqual(values, range(count))
    assert.ok(asked < count / 4, `${asked} statements`)
  })
})
