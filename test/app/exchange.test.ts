import assert from 'node:assert/strict'
import { App } from '../../src/lib/app/app.js'
import { chain } from '../../src/lib/app/canvas.js'
import { ConfigurationError, UsageError } from '../../src/lib/task/errors.js'
import { openWorld } from '../helpers/world.js'

const refusal = (task: string) => `the task ${task} is to go to the exchange media, but the embedded broker has no exchanges`

describe('the embedded broker', () => {
  it('refuses a publish to an exchange, and writes nothing', async () => {
    await using w = await openWorld()
    await assert.rejects(w.app.sendTask('cut', [], { exchange: 'media', routingKey: 'video' }), (error) => {
      assert.ok(error instanceof UsageError)
      assert.deepEqual([error.message, error.hint], [refusal('cut'), 'give a queue, or set broker to amqp://HOST'])
      return true
    })
    assert.deepEqual(await w.app.tasks.list(), [])
  })

  it('refuses a workflow of which a later step would go to one', async () => {
    await using w = await openWorld()
    const add = w.app.task('add', (x: number) => x)
    const steps = chain(add.s(1), add.s().set({ exchange: 'media' }))
    await assert.rejects(steps.applyAsync(), new UsageError(refusal('add'), { hint: 'give a queue, or set broker to amqp://HOST' }))
    assert.deepEqual(await w.app.tasks.list(), [])
  })

  it('is not opened with a route to one', async () => {
    await using w = await openWorld()
    const routes = { 'mail.*': { queue: 'mail' }, 'video.*': { exchange: 'media', routingKey: 'video.encode' } }
    const app = new App({ code: { database: w.url, routes }, env: {}, cwd: w.folder })
    await assert.rejects(app.tasks.list(), (error) => {
      assert.ok(error instanceof ConfigurationError)
      assert.equal(error.message, 'routes: video.* goes to the exchange media, but the embedded broker has no exchanges')
      return true
    })
  })
})
