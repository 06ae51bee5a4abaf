import assert from 'node:assert/strict'
import { fetchedAhead, takeBack } from '../helpers/messages.js'
import { until } from '../helpers/until.js'
import { gate, working } from '../helpers/working.js'
import { openWorld } from '../helpers/world.js'

const SOON = { timeout: 10, propagate: false } as const

describe('the hooks of a worker', () => {
  it('are told of a start and of each way to end, once the row says so', async () => {
    await using w = await openWorld()
    const told: [string, string][] = []
    const { app, clock } = w
    const good = app.task('good', () => 1)
    const bad = app.task({ name: 'bad', throws: [RangeError] }, (expected: boolean) => {
      throw expected ? new RangeError('as ever') : new TypeError('boom')
    })
    const again = app.task({ name: 'again', bind: true }, ({ request, retry }) => request.retries || retry({ countdown: 5 }))
    app.on('started', ({ task, retries }) => told.push(['started', `${task} ${retries}`]))
    app.on('succeeded', ({ task, runMs }) => told.push(['succeeded', `${task} ${runMs >= 0}`]))
    app.on('failed', ({ task, error, expected }) => told.push(['failed', `${task} ${error.type} ${expected}`]))
    app.on('retried', ({ task, eta }) => told.push(['retried', `${task} ${eta.getTime() - clock.now()}`]))
    await using _ = working(app, { concurrency: 1 })
    await (await good.delay()).get(SOON)
    await (await bad.delay(false)).get(SOON)
    await (await bad.delay(true)).get(SOON)
    await (await app.sendTask('unknown')).get(SOON)
    const retried = await again.delay()
    await until(async () => (await retried.state()) === 'RETRY', 'the retry')
    clock.advance(5001)
    await retried.get(SOON)
    await until(() => told.length === 11, 'the last hook')

    assert.deepEqual(told, [
      ['started', 'good 0'],
      ['succeeded', 'good true'],
      ['started', 'bad 0'],
      ['failed', 'bad TypeError false'],
      ['started', 'bad 0'],
      ['failed', 'bad RangeError true'],
      ['failed', 'unknown NotRegistered false'],
      ['started', 'again 0'],
      ['retried', 'again 5000'],
      ['started', 'again 1'],
      ['succeeded', 'again true'],
    ])
  })

  it('are told of a task that had expired when a worker looked', async () => {
    await using w = await openWorld()
    const told: string[] = []
    w.app.on('revoked', ({ task, reason }) => told.push(`${task} ${reason}`))
    const door = gate()
    const busy = await w.app.task('busy', () => door.passed).delay()
    await using _ = working(w.app, { concurrency: 1 })
    await until(async () => (await busy.state()) === 'STARTED', 'the worker to be busy')
    const expired = await w.app.task('good', () => 1).applyAsync([], { expires: 60 })
    await fetchedAhead(w) // RabbitMQ itself drops what expires in a queue
    w.clock.advance(60_001)
    door.open()
    await expired.get(SOON)
    await until(() => told.length > 0, 'the hook')
    assert.deepEqual(told, ['good expired'])
  })

  it('are not told of an answer that came too late', async () => {
    await using w = await openWorld()
    const told: string[] = []
    w.app.on('succeeded', ({ task }) => told.push(task))
    const task = w.app.task({ name: 'slow', bind: true, acksLate: true }, async ({ request }) => {
      if (request.deliveries > 1) return
      w.clock.advance(30_001)
      await until(async () => (await w.app.result(request.id).state()) === 'SUCCESS', 'the other worker to end it')
    })
    await using first = working(w.app, { concurrency: 1 })
    const result = await task.delay()
    await until(async () => (await result.state()) === 'STARTED', 'the task to start')
    await takeBack(w)
    {
      await using _second = working(w.app)
      await result.get(SOON)
    }
    first.worker.stop()
    await first.ended
    assert.deepEqual(told, ['slow'])
  })

  it('that throw or reject are reported, and the worker goes on', async () => {
    await using w = await openWorld()
    const { app, errors } = w
    const task = app.task('good', (x: number) => x)
    app.on('started', () => {
      throw new Error('thrown')
    })
    app.on('succeeded', async () => {
      throw new Error('rejected')
    })
    app.on('error', () => {
      throw new Error('and this one too')
    })
    app.on('error', async () => {
      throw new Error('or later')
    })
    const warnings: string[] = []
    const printing = process.listeners('warning')
    process.removeAllListeners('warning')
    process.on('warning', ({ message }) => warnings.push(message))
    try {
      await using _ = working(app)
      assert.equal(await (await task.delay(1)).get(SOON), 1)
      assert.equal(await (await task.delay(2)).get(SOON), 2)
      await until(() => warnings.length === 8, 'every complaint')
    } finally {
      process.removeAllListeners('warning')
      for (const listener of printing) process.on('warning', listener)
    }
    assert.deepEqual(errors.map(String), ['Error: thrown', 'Error: rejected', 'Error: thrown', 'Error: rejected'])
    assert.deepEqual(new Set(warnings), new Set(['and this one too', 'or later']))
  })
})
