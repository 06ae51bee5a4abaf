import assert from 'node:assert/strict'
import { Redis } from 'ioredis'
import { newTaskId } from '../../src/lib/task/id.js'
import { messageFrom } from '../helpers/celery-client.js'
import { type CeleryStage, KEPT, openCeleryStage, REDIS } from '../helpers/celery-stage.js'
import { needs } from '../helpers/services.js'
import { until } from '../helpers/until.js'
import { openWorld } from '../helpers/world.js'

/** What of Celery's count of a chord is left in Redis. */
const partsOf = (redis: Redis, groupId: string) => redis.keys(`celery-taskset-meta-${groupId}*`)

describe("results for Celery's clients, in Redis", function () {
  this.timeout(60_000)
  let redis: Redis
  let w: CeleryStage

  before(async function () {
    await needs(this, 'Redis', 'Celery')
    redis = new Redis(REDIS)
    w = await openCeleryStage(REDIS)
  })

  after(async () => {
    await w?.[Symbol.asyncDispose]()
    redis?.disconnect()
  })

  it('answer a client that asks later, and are gone once nobody may ask any more', async () => {
    await using _ = w.work()
    const { id } = await w.call('add.delay(2, 2)')
    await until(async () => (await redis.exists(`celery-task-meta-${id}`)) === 1, 'the result')
    assert.deepEqual(await w.client.get(id), { value: 4 })
    const ttl = await redis.ttl(`celery-task-meta-${id}`)
    assert.ok(ttl > 0 && ttl <= KEPT, `${ttl}`)
    assert.deepEqual(await w.untold(), [])
  })

  it('answer a client that waits already', async () => {
    const { id, messages } = await w.client.send('add.delay(2, 3)')
    const got = w.client.get(id)
    await until(async () => (await redis.pubsub('NUMSUB', `celery-task-meta-${id}`))[1] === 1, 'the client to wait')
    await using _ = w.work()
    await w.take(...messages)
    assert.deepEqual(await got, { value: 5 })
  })

  it('raise what the task threw, as Python knows it or under its name', async () => {
    await using _ = w.work()
    const known = await w.call("fail.delay('boom')")
    assert.deepEqual(await w.client.get(known.id), { raised: 'ValueError', module: 'builtins', args: ['boom'] })
    assert.match(String((await w.client.ask({ do: 'look', id: known.id }))['traceback']), /ValueError: boom\n +at /)
    const made = await w.call('out_of_range.delay()')
    assert.deepEqual(await w.client.get(made.id), { raised: 'RangeError', module: 'celery.exceptions', args: ['bad len'] })
    const unknown = await w.call('of_nobody.delay()')
    assert.equal((await w.client.get(unknown.id)).raised, 'NotRegistered')
  })

  it('tell of a task that was revoked before it began, and of one that expired', async () => {
    const [revoked, expired] = [newTaskId(), newTaskId()]
    await w.app.sendTask('add', [1, 1], { taskId: revoked })
    await w.app.tasks.revoke([revoked])
    assert.deepEqual(await w.client.get(revoked), { raised: 'TaskRevokedError', module: 'celery.exceptions', args: ['revoked'] })
    await w.app.sendTask('add', [1, 1], { taskId: expired, expires: 0 })
    await using _ = w.work()
    assert.deepEqual(await w.client.get(expired), { raised: 'TaskRevokedError', module: 'celery.exceptions', args: ['expired'] })
  })

  it('tell of a chain by its last step, whether it ends well or not', async () => {
    await using _ = w.work()
    const good = await w.call('chain(add.s(1, 1), add.s(10), add.s(100)).apply_async()')
    assert.deepEqual(await w.client.get(good.id), { value: 112 })
    const look = await w.client.ask({ do: 'look', id: good.parent ?? '' })
    assert.deepEqual([look['state'], look['children']], ['SUCCESS', [good.id]])
    const bad = await w.call("chain(add.s(1, 1), fail.si('x'), add.s(10), add.s(1)).apply_async(link_error=note.s())")
    assert.deepEqual(await w.client.get(bad.id), { raised: 'ValueError', module: 'builtins', args: ['x'] })
    // the client has asked the steps before it too; by itself it tells the same
    await until(async () => (await w.client.ask({ do: 'look', id: bad.id }))['state'] === 'FAILURE', 'the last step to be told of')
    await until(() => w.noted.length > 0, 'the errback')
  })

  it('tell of a group by its members', async () => {
    await using _ = w.work()
    const { members } = await w.call('group(add.s(i, i) for i in range(3)).apply_async()')
    assert.deepEqual(await Promise.all(members.map((id) => w.client.get(id))), [{ value: 0 }, { value: 2 }, { value: 4 }])
  })

  it('name what a task sent as its children', async () => {
    await using _ = w.work()
    const { id } = await w.call('add.apply_async((1, 1), link=add.s(5))')
    assert.deepEqual(await w.client.get(id), { value: 2 })
    const [child] = (await w.client.ask({ do: 'look', id }))['children'] as string[]
    assert.deepEqual(await w.client.get(child ?? ''), { value: 7 })
  })

  it('say that a task waits for its retry, and then what became of it', async () => {
    await using _ = w.work()
    const { id } = await w.call('again.delay()')
    const retrying = await until(async () => {
      const look = await w.client.ask({ do: 'look', id })
      return look['state'] !== 'PENDING' && look
    }, 'the retry')
    assert.deepEqual([retrying['state'], retrying['ready'], retrying['done']], ['RETRY', false, false])
    assert.deepEqual(await w.client.get(id), { value: 1 })
  })

  it('are found under the id that the client has, where another task took its place', async () => {
    await using _ = w.work()
    const replaced = await w.call('instead.delay(5)')
    assert.deepEqual(await w.client.get(replaced.id), { value: 105 })
    const member = await w.call('chord([instead.s(5), add.s(1, 1)])(tsum.s())')
    assert.deepEqual(await w.client.get(member.id), { value: 107 })
    const delayed = await w.call('chain(add.s(1, 1), add.s(10).set(countdown=0.2)).apply_async()')
    assert.deepEqual(await w.client.get(delayed.id), { value: 12 })
  })

  it('do not take the place of a success that is stored already', async () => {
    const { id, messages } = await w.client.send('add.delay(1, 1)')
    await w.runInPython(messages[0]!, { value: 'of Python' })
    await using _ = w.work()
    await w.take(...messages)
    await until(async () => (await w.app.tasks.get(id))?.status === 'SUCCESS', 'the task to end')
    await until(async () => (await w.untold()).length === 0, 'the clients to be told')
    assert.deepEqual(await w.client.get(id), { value: 'of Python' })
  })

  it('are not stored where they are ignored', async () => {
    await using _ = w.work()
    const ignored = await w.call('note.apply_async((7,), ignore_result=True)')
    await until(() => w.noted.some(([n]) => n === 7), 'the task to run')
    const { id } = await w.call('add.delay(1, 1)')
    await w.client.get(id)
    assert.equal(await redis.exists(`celery-task-meta-${ignored.id}`), 0)
  })

  it('reach the body of a chord, in the order of its header', async () => {
    await using _ = w.work()
    const { id, parent, messages } = await w.call('chord([add.s(1, 1), add.s(2, 2), add.s(3, 3)])(echo.s())')
    assert.deepEqual(await w.client.get(id), { value: [2, 4, 6] })
    await until(async () => (await partsOf(redis, parent ?? '')).length === 0, 'the count to be removed')
    const body = await w.app.tasks.get(id)
    assert.ok(
      messages.some(({ headers }) => headers['id'] === body?.parentId),
      'the last member is its parent',
    )
    assert.equal(body?.rootId, body?.parentId)
  })

  for (const last of ['Node', 'Python'] as const) {
    it(`reach the body of a chord half of whose header ran in Python, when ${last} ends the last member`, async () => {
      const { id, parent, messages } = await w.client.send('chord([add.s(1, 1), add.s(2, 2), add.s(3, 3)])(tsum.s())')
      const [one, two, three] = messages
      if (last === 'Node') await w.runInPython(one!, { value: 2 })
      await using _ = w.work()
      await w.take(two!, three!)
      if (last === 'Python') {
        await until(async () => (await redis.zcard(`celery-taskset-meta-${parent}.j`)) === 2, 'two members to be counted')
        const { messages: sent } = await w.runInPython(one!, { value: 2 })
        assert.deepEqual(
          sent.map(({ headers }) => headers['id']),
          [id],
          'Python sends the body',
        )
      }
      assert.deepEqual(await w.client.get(id), { value: 12 })
    })
  }

  it('fail the body of a chord with a member that failed, wherever it did, and send its errbacks', async () => {
    await using _ = w.work()
    const before = w.noted.length
    const inNode = await w.call("chord([add.s(1, 1), fail.s('hdr')])(tsum.s().on_error(note.s()))")
    const culprit = inNode.messages[1]?.headers['id']
    const raised = await w.client.get(inNode.id)
    // the client asks the header first, and finds the member's own error there
    assert.deepEqual(raised, { raised: 'ValueError', module: 'builtins', args: ['hdr'] })
    const body = await until(async () => {
      const meta = await redis.get(`celery-task-meta-${inNode.id}`)
      return meta !== null && JSON.parse(meta)
    }, 'the body to fail')
    assert.deepEqual(body.result, {
      exc_type: 'ChordError',
      exc_message: [`Dependency ${culprit} raised ValueError: hdr`],
      exc_module: 'celery.exceptions',
    })
    await until(() => w.noted.length > before, 'the errback')
    assert.deepEqual(w.noted.at(-1), [inNode.id])
    const inPython = await w.client.send('chord([add.s(1, 1), add.s(2, 2)])(tsum.s())')
    await w.runInPython(inPython.messages[0]!, { error: 'of Python' })
    await w.take(inPython.messages[1]!)
    await until(async () => (await w.app.tasks.get(inPython.id))?.errorType === 'ChordError', 'the body to fail')
    assert.match(String((await w.app.tasks.get(inPython.id))?.errorMessage), / raised ValueError: of Python$/)
  })

  it('reach the body of a chord of chains, and of one chord after another', async () => {
    await using _ = w.work()
    const chains = await w.call('chord([chain(add.s(1, 1), add.s(10)), chain(add.s(2, 2), add.s(10))])(tsum.s())')
    assert.deepEqual(await w.client.get(chains.id), { value: 26 })
    const failing = await w.call("chord([chain(fail.s('x'), add.s(10)), add.s(2, 2)])(tsum.s())")
    await until(async () => (await w.app.tasks.get(failing.id))?.errorType === 'ChordError', 'the body to fail')
    const twice = await w.call('chain(chord([add.s(1, 1), add.s(2, 2)], tsum.s()), chord([add.s(10), add.s(20)], tsum.s())).apply_async()')
    assert.deepEqual(await w.client.get(twice.id), { value: 42 })
  })

  it('reach the body of a chord in the shape that Celery has saved of its header', async () => {
    const { id, parent, messages } = await w.client.send('chord([add.s(1, 1), add.s(2, 2), add.s(3, 3)])(echo.s())')
    const [one, two, three] = messages.map(({ headers }) => String(headers['id']))
    await w.client.ask({ do: 'save', id: parent, members: [[one!, two!], three!] })
    await w.take(...messages)
    await using _ = w.work()
    assert.deepEqual(await w.client.get(id), { value: [[2, 4], 6] })
  })

  it('are told by a sender once Redis is there again, and nothing waits for it', async () => {
    await using away = await openWorld({ now: Date.now, settings: { celeryResults: 'redis://127.0.0.1:1/0', lease: 0.2 } })
    const { messages, id } = await w.client.send('chord([add.s(1, 1)])(echo.s())')
    const declare = (app: typeof away.app) => {
      app.task('add', (x: number, y: number) => x + y)
      app.task('echo', (value: unknown) => value)
    }
    declare(away.app)
    await away.broker.publish(messages.map((one) => messageFrom(one, Date.now())))
    const running = away.app.worker({ sender: false })
    const ended = running.run()
    await until(async () => (await away.app.tasks.list({ statuses: ['SUCCESS'] })).length === 1, 'the member to end')
    await until(() => away.errors.length > 0, 'the failure to be told')
    assert.match(String(away.errors[0]), /the result of add .* is not stored for Celery's clients yet/)
    running.stop()
    await ended
    const back = await away.join({ celeryResults: REDIS, resultExpires: KEPT, lease: 0.2 })
    declare(back.app)
    const worker = back.app.worker()
    const done = worker.run()
    assert.deepEqual(await w.client.get(id), { value: [2] })
    worker.stop()
    await done
    assert.deepEqual(back.errors, [])
    assert.deepEqual(await back.database.all('SELECT task_id FROM celery_outbox', []), [])
  })
})
