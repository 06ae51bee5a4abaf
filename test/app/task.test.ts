import assert from 'node:assert/strict'
import { findTask } from '../../src/lib/ledger/find.js'
import { Retry } from '../../src/lib/task/ending.js'
import { UsageError } from '../../src/lib/task/errors.js'
import { openWorld } from '../helpers/world.js'

const refused = (expected: RegExp) => (error: Error) => error instanceof UsageError && expected.test(error.message)

describe('a task', () => {
  it('called as a function runs here and now, without the ledger', async () => {
    await using w = await openWorld()
    const add = w.app.task('add', (x: number, y: number) => x + y)
    assert.equal(add(2, 3), 5)
    assert.deepEqual(await w.app.tasks.list(), [])
  })

  it('called as a function gives the caller the error that it would be retried for', async () => {
    await using w = await openWorld()
    const given = w.app.task({ name: 'given', bind: true }, (task) => task.retry({ error: new Error('mine') }))
    const none = w.app.task({ name: 'none', bind: true }, (task) => task.retry())
    assert.throws(() => given(), /mine/)
    assert.throws(() => none(), Retry)
  })

  it('is published with its own defaults, which the call may change', async () => {
    await using w = await openWorld()
    const add = w.app.task({ name: 'add', queue: 'sums', priority: 3, expires: 60, resultExpires: null, acksLate: true }, (x: number) => x)
    const [first, second] = [await add.delay(1), await add.applyAsync([1], { queue: 'other', priority: 0, resultExpires: 5 })]
    const [own, changed] = [await findTask(w.database, first.id), await findTask(w.database, second.id)]
    assert.deepEqual([own?.queue, own?.priority, own?.options], ['sums', 3, { resultExpires: null, acksLate: true }])
    assert.equal(own?.expires?.getTime(), w.clock.now() + 60_000)
    assert.deepEqual([changed?.queue, changed?.priority, changed?.options], ['other', 0, { resultExpires: 5, acksLate: true }])
  })

  it('published by its name has its defaults too, and one of another program has none', async () => {
    await using w = await openWorld()
    w.app.task({ name: 'add', queue: 'sums' }, () => 1)
    const queueOf = async (name: string) => (await findTask(w.database, (await w.app.sendTask(name)).id))?.queue
    assert.deepEqual([await queueOf('add'), await queueOf('elsewhere')], ['sums', 'default'])
  })

  it('of a name that is registered already is refused', async () => {
    await using w = await openWorld()
    w.app.task('add', () => 1)
    assert.throws(() => w.app.task('add', () => 2), refused(/^a task named add is registered already$/))
  })

  it('with an option that is wrong is refused where it is declared', async () => {
    await using w = await openWorld()
    const declare = (options: object) => () => w.app.task({ name: 't', ...options }, () => 1)
    assert.throws(declare({ retries: 3 }), refused(/^task t: there is no option named retries; the options are name, bind/))
    assert.throws(declare({ name: '' }), refused(/^a task needs a name of 1 to 255 characters, got: $/))
    assert.throws(declare({ maxRetries: -1 }), refused(/maxRetries: expected a whole number, 0 or more, or null for no limit, got: -1$/))
    assert.throws(declare({ defaultRetryDelay: Number.NaN }), refused(/defaultRetryDelay: expected seconds, 0 or more, got: NaN$/))
    assert.throws(declare({ priority: 'high' }), refused(/priority: expected a whole number from 0 to 255, got: high$/))
    assert.throws(declare({ queue: '' }), refused(/queue: expected a name of 1 to 255 characters, got: $/))
    assert.throws(declare({ expires: -1 }), refused(/expires: expected seconds or a Date, got: -1$/))
  })
})

describe('an app', () => {
  it('that is closed opens again with its next use', async () => {
    await using w = await openWorld()
    const { id } = await w.app.sendTask('add')
    await w.app.close()
    assert.equal(await w.app.result(id).state(), 'PENDING')
  })

  it('takes settings of the command line before its first use, and none after it', async () => {
    await using w = await openWorld()
    assert.throws(() => w.app.override({ flags: { concurrency: 1 } }), /the app is open already/)
    await w.app.close()
    w.app.override({ flags: { concurrency: 1 } })
    assert.equal((await w.app.settings()).concurrency, 1)
  })
})
