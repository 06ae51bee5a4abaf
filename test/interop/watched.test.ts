import assert from 'node:assert/strict'
import { chain, chord, group } from '../../src/lib/app/canvas.js'
import { newTaskId } from '../../src/lib/task/id.js'
import type { Watcher } from '../../src/lib/watch/watcher.js'
import { needs } from '../helpers/services.js'
import { declareNodeTasks, openSharedSite, type SharedSite } from '../helpers/shared-site.js'
import { until } from '../helpers/until.js'
import { type Working, working } from '../helpers/working.js'

/** Seconds. */
const SOON = { timeout: 15 }

describe('a task that Node publishes and Celery runs, while a watch listens', () => {
  let w: SharedSite
  let worker: Working
  let watcher: Watcher
  let watching: Promise<void>
  let errbacks: readonly (readonly unknown[])[]

  before(async function () {
    this.timeout(60_000)
    await needs(this, 'RabbitMQ', 'Celery')
    w = await openSharedSite({ worker: true, events: true, client: true })
    errbacks = declareNodeTasks(w.app)
    worker = working(w.app)
    let listens = false
    watcher = await w.app.watchCelery(w.settings.broker, { enableEvents: false }, ({ kind }) => {
      listens ||= kind === 'watching'
    })
    watching = watcher.run()
    watching.catch(() => {}) // the end of the suite sees it
    await until(() => listens, 'the watch')
  })
  after(async function () {
    this.timeout(60_000)
    watcher?.stop()
    await watching
    await worker?.[Symbol.asyncDispose]()
    await w?.[Symbol.asyncDispose]()
  })

  const call = (task: string, ...args: readonly unknown[]) => w.app.signature<number>(task).clone(args as number[])
  const errbacksOf = (id: string) => errbacks.filter(([given]) => given === id).length

  it('ends with what the Celery worker returned', async () => {
    const result = await w.app.sendTask('py.add', [2, 3], { headers: { tenant: 'acme' } })
    assert.equal(await result.get(SOON), 5)
    const row = await w.row(result.id)
    assert.deepEqual([row?.workerId, row?.deliveries, row?.options.headers], ['shared@test', 0, { tenant: 'acme' }])
  })

  it('ends with what it raised, and Celery calls its errback', async () => {
    const result = await w.app.sendTask('py.fail', ['why'], { linkError: call('node.on_error') })
    await assert.rejects(result.get(SOON), { name: 'ValueError', message: 'boom' })
    await until(() => errbacksOf(result.id) > 0, 'the errback')
    const again = await w.app.sendTask('py.add', [1, 1])
    await again.get(SOON) // whatever else was to be sent is sent by then
    assert.equal(errbacksOf(result.id), 1)
  })

  it('is retried by Celery, and shows it', async () => {
    const result = await w.app.sendTask('py.flaky', [5])
    assert.equal(await result.get(SOON), 5)
    const { row, attempts } = (await w.app.tasks.history(result.id)) ?? {}
    assert.deepEqual([row?.retries, attempts?.map(({ kind, workerId }) => [kind, workerId])], [1, [['retry', 'shared@test']]])
  })

  it('calls the errback from here when Celery has revoked it, or does not know it', async () => {
    const taskId = newTaskId()
    await w.value(`app.control.revoke('${taskId}', reply=True)`)
    const revoked = await w.app.sendTask('py.add', [1, 1], { taskId, linkError: call('node.on_error') })
    await assert.rejects(revoked.get(SOON), { name: 'TaskRevokedError', message: 'revoked' })
    const unknown = await w.app.sendTask('py.nobody_knows', [], { linkError: call('node.on_error') })
    await assert.rejects(unknown.get(SOON), { name: 'NotRegistered' })
    await until(() => errbacksOf(taskId) > 0 && errbacksOf(unknown.id) > 0, 'both errbacks')
    assert.deepEqual([errbacksOf(taskId), errbacksOf(unknown.id)], [1, 1])
  })

  it('may be the end of a chain, sent by Celery itself', async () => {
    const result = await chain(call('node.add', 1, 1), call('py.multiply', 10), call('py.add', 1)).applyAsync()
    assert.equal(await result.get(SOON), 21)
    assert.deepEqual(await w.statuses(result.parent?.parent?.id, result.parent?.id, result.id), ['SUCCESS', 'SUCCESS', 'SUCCESS'])
  })

  it('may be in a group that Celery sends at the end of a chain', async () => {
    const result = await chain(call('py.add', 1, 1), group(call('py.add', 1), chain(call('py.add', 2), call('py.add', 3)))).applyAsync()
    assert.deepEqual(await result?.get(SOON), [3, 7])
  })

  it('ends its chain when it fails, whoever has sent it', async () => {
    const result = await chain(call('py.add', 1, 1), call('py.fail'), call('py.add', 1), call('node.add', 1))
      .onError(call('node.on_error'))
      .applyAsync()
    await assert.rejects(result.get(SOON), { name: 'ValueError', message: 'boom' })
    const [first, failed, third] = [result.parent?.parent?.parent?.id, result.parent?.parent?.id, result.parent?.id]
    assert.deepEqual(await w.statuses(first, failed, third, result.id), ['SUCCESS', 'FAILURE', 'FAILURE', 'FAILURE'])
    await until(() => errbacksOf(failed ?? '') > 0, 'the errback')
    assert.equal(errbacks.filter(([id]) => [first, failed, third, result.id].includes(id as string)).length, 1)
  })

  it('counts in a chord that Node has begun, also at the end of a chain', async () => {
    const header = [call('py.add', 1, 1), chain(call('node.add', 1, 1), call('py.add', 1)), chain(call('py.add', 2, 2), call('py.add', 1))]
    const result = await chord([...header, call('node.add', 3, 3)], call('node.tsum') as never).applyAsync()
    assert.equal(await result?.get(SOON), 16)
    const inCelery = await chord([call('py.add', 1, 1), call('py.add', 2, 2)], call('py.tsum') as never).applyAsync()
    assert.equal(await inCelery?.get(SOON), 6)
  })

  it('fails the body of its chord when it fails', async () => {
    const result = await chord([call('py.add', 1, 1), call('py.fail')], call('node.tsum') as never).applyAsync()
    await assert.rejects(async () => result?.get(SOON), { name: 'ChordError' })
  })

  it('is not revoked for its expiry once it has run', async () => {
    const result = await w.app.sendTask('py.add', [1, 1], { expires: 1, linkError: call('node.on_error') })
    assert.equal(await result.get(SOON), 2)
    const gone = await w.app.sendTask('py.add', [], { queue: 'nobody', expires: 1 })
    assert.equal((await w.ended(gone.id)).status, 'REVOKED') // by a sender, which has seen the other one, too
    assert.deepEqual([await w.statuses(result.id), errbacksOf(result.id)], [['SUCCESS'], 0])
  })
})
