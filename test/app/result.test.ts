import assert from 'node:assert/strict'
import { TaskError, TimeoutError } from '../../src/lib/app/task-error.js'
import { recordAttempt } from '../../src/lib/ledger/attempts.js'
import { revokeUnstarted } from '../../src/lib/ledger/ends.js'
import { itOnSqlBroker } from '../helpers/databases.js'
import { fail, start, succeed } from '../helpers/lives.js'
import { assertWaiting } from '../helpers/messages.js'
import { aMessage, putRow } from '../helpers/rows.js'
import { openWorld } from '../helpers/world.js'

describe('the result of a task', () => {
  it('is what the task returned, once it has', async () => {
    await using w = await openWorld()
    const result = await w.app.sendTask('add', [2, 2])
    const waiting = result.get({ timeout: 10 })
    await succeed(w, result.id, '{"sum":4}')
    assert.deepEqual(await waiting, { sum: 4 })
    assert.deepEqual(await w.app.result(result.id).get(), { sum: 4 })
  })

  it('is null for a task that returned nothing', async () => {
    await using w = await openWorld()
    const result = await w.app.sendTask('add')
    await succeed(w, result.id, null)
    assert.equal(await result.get(), null)
  })

  it('is null at once for a task whose result is ignored', async () => {
    await using w = await openWorld()
    const result = await w.app.sendTask('add', [], { ignoreResult: true })
    assert.equal(await result.get(), null)
  })

  it('of a task that failed is its error: thrown, or returned when not propagated', async () => {
    await using w = await openWorld()
    const result = await w.app.sendTask('fetch')
    await fail(w, result.id)
    await assert.rejects(result.get(), (error: TaskError) => {
      const { name, message, taskId, status } = error
      assert.deepEqual([name, message, taskId, status], ['FetchError', 'no answer', result.id, 'FAILURE'])
      return error instanceof TaskError
    })
    const returned = await result.get({ propagate: false })
    assert.ok(returned instanceof TaskError)
    assert.match(returned.traceback ?? '', /at fetch$/)
    assert.equal(await result.traceback(), returned.traceback)
  })

  it('of a task that was revoked is an error that says why', async () => {
    await using w = await openWorld()
    const result = await w.app.sendTask('add')
    await w.database.write((sql) => revokeUnstarted(sql, result.id, 'expired', { at: w.clock.now(), resultExpiresAt: null }))
    await assert.rejects(result.get(), (error: TaskError) => error.name === 'TaskRevokedError' && error.message === 'expired')
  })

  it('is waited for no longer than asked, and the task goes on', async () => {
    await using w = await openWorld()
    const result = await w.app.sendTask('add')
    await assert.rejects(
      result.get({ timeout: 0.03 }),
      (error: Error) => error instanceof TimeoutError && error.message === 'The operation timed out.',
    )
    await assert.rejects(result.get({ timeout: 0 }), TimeoutError)
    await succeed(w, result.id, '1')
    assert.equal(await result.get({ timeout: 0 }), 1)
  })

  it('of an id that nobody knows is waited for: its row may yet come', async () => {
    await using w = await openWorld()
    await assert.rejects(w.app.result('nowhere').get({ timeout: 0 }), TimeoutError)
    const waiting = w.app.result('later').get({ timeout: 10 })
    await putRow(w.database, { task_id: 'later', status: 'SUCCESS', result: '"here"' })
    assert.equal(await waiting, 'here')
  })
})

describe('the state of a task', () => {
  it('is what its row says', async () => {
    await using w = await openWorld()
    const result = await w.app.sendTask('add')
    const states: unknown[] = []
    const look = async () => states.push([await result.state(), await result.ready(), await result.successful(), await result.failed()])
    await look()
    await succeed(w, result.id)
    await look()
    const other = await w.app.sendTask('add')
    await start(w, other.id)
    assert.equal(await other.state(), 'STARTED')
    assert.deepEqual(states, [
      ['PENDING', false, false, false],
      ['SUCCESS', true, true, false],
    ])
  })

  it('of a task that failed', async () => {
    await using w = await openWorld()
    const result = await w.app.sendTask('add')
    await fail(w, result.id)
    assert.deepEqual(
      [await result.state(), await result.ready(), await result.successful(), await result.failed()],
      ['FAILURE', true, false, true],
    )
  })

  it('is PENDING for an id that nobody knows, as in Celery, and exists tells the two apart', async () => {
    await using w = await openWorld()
    const unknown = w.app.result('nowhere')
    assert.deepEqual(
      [await unknown.state(), await unknown.ready(), await unknown.exists(), await unknown.traceback()],
      ['PENDING', false, false, null],
    )
    assert.equal(await (await w.app.sendTask('add')).exists(), true)
  })
})

describe('the result of a scheduled task', () => {
  it('is that of the task that is sent in its place', async () => {
    await using w = await openWorld()
    const result = await w.app.sendTask('add', [], { countdown: 60 })
    assert.deepEqual([await result.state(), await result.ready()], ['SCHEDULED', false])
    const waiting = result.get({ timeout: 10 })
    w.clock.advance(60_001)
    const [sent] = await w.sender.sendDue()
    assert.deepEqual([await result.state(), await result.ready()], ['PENDING', false])
    await succeed(w, sent?.newTaskId ?? '', '4')
    assert.equal(await waiting, 4)
    assert.deepEqual([await result.state(), await result.ready(), await result.successful()], ['SUCCESS', true, true])
  })

  it('is the error of the task that was sent in its place', async () => {
    await using w = await openWorld()
    const result = await w.app.sendTask('add', [], { countdown: 60 })
    w.clock.advance(60_001)
    const [sent] = await w.sender.sendDue()
    await fail(w, sent?.newTaskId ?? '')
    await assert.rejects(result.get(), (error: TaskError) => error.taskId === sent?.newTaskId && error.name === 'FetchError')
    assert.match((await result.traceback()) ?? '', /FetchError/)
  })

  it('that nobody sent is waited for, and then the wait is given up', async () => {
    await using w = await openWorld()
    const result = await w.app.sendTask('add', [], { countdown: 60 })
    await assert.rejects(result.get({ timeout: 0.03 }), TimeoutError)
  })
})

describe('forgetting a result', () => {
  it('deletes the row and its history', async () => {
    await using w = await openWorld()
    const result = await w.app.sendTask('add')
    await succeed(w, result.id)
    await w.database.write((sql) => recordAttempt(sql, result.id, 'retry', null, null, 0))
    await result.forget()
    assert.equal(await result.exists(), false)
    assert.deepEqual(await w.database.all('SELECT * FROM task_attempt', []), [])
    await result.forget()
  })

  // RabbitMQ keeps them
  itOnSqlBroker('takes the messages of that task along, which nothing would keep from being run', async () => {
    await using w = await openWorld()
    const result = await w.app.sendTask('add')
    await succeed(w, result.id)
    await w.broker.publish([aMessage({ id: result.id }), aMessage({ id: 'other' })])
    await result.forget()
    assert.deepEqual([await w.broker.has(result.id), await w.broker.has('other')], [false, true])
  })

  it('is refused while the task has not ended', async () => {
    await using w = await openWorld()
    const result = await w.app.sendTask('add')
    await assert.rejects(result.forget(), /has not ended; its record cannot be forgotten yet$/)
    assert.equal(await result.exists(), true)
    await assertWaiting(w, 1)
  })
})
