import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { type Channel, type ChannelModel, connect } from 'amqplib'
import { ReplyStore } from '../../src/lib/celery/reply.js'
import { CeleryResults } from '../../src/lib/publish/celery-results.js'
import { Follower } from '../../src/lib/publish/follow.js'
import { CeleryClient, messageFrom, type Published } from '../helpers/celery-client.js'
import { aMessage } from '../helpers/rows.js'
import { needs } from '../helpers/services.js'
import { until } from '../helpers/until.js'
import { working } from '../helpers/working.js'
import { openWorld, type World } from '../helpers/world.js'

const SERVER = 'amqp://guest:guest@127.0.0.1:5672'

describe('replies to clients whose result backend is rpc://', function () {
  this.timeout(60_000)
  const queue = `taskledger-replies-${randomUUID()}`
  let connection: ChannelModel
  let channel: Channel
  let client: CeleryClient
  let w: World

  before(async function () {
    await needs(this, 'RabbitMQ', 'Celery')
    connection = await connect(SERVER)
    channel = await connection.createChannel()
    client = CeleryClient.open('rpc://', `${SERVER}//`, queue)
    w = await openWorld({ now: Date.now })
    const { app, publisher, redaction, settings, database } = w
    const store = new ReplyStore(async ({ exchange, routingKey, properties, body }) => {
      channel.publish(exchange, routingKey, body, properties)
    })
    const results = new CeleryResults(database, store, 30_000, (error) => w.errors.push(error), Date.now)
    const follower = new Follower(publisher, redaction, settings, Date.now, results)
    app['opened'] = Promise.resolve({ ...(await app['parts']()), follower })
    app.task('add', (x: number, y: number) => x + y)
    app.task('fail', (message: string) => {
      throw Object.assign(new Error(message), { name: 'ValueError' })
    })
  })

  after(async () => {
    await client?.[Symbol.asyncDispose]()
    await w?.[Symbol.asyncDispose]()
    await channel?.deleteQueue(queue)
    await channel?.deleteExchange(queue)
    await connection?.close()
  })

  /** The next message that the client has published. */
  async function taken(): Promise<Published> {
    const message = await until(async () => channel.get(queue, { noAck: true }), 'a message')
    const { headers, replyTo } = message.properties
    return { headers: headers as never, properties: { reply_to: replyTo }, body: JSON.parse(message.content.toString()) }
  }

  it('answer them, and raise what the task threw', async () => {
    const good = await client.send('add.delay(2, 2)')
    const bad = await client.send("fail.delay('boom')")
    await w.broker.publish([messageFrom(await taken(), Date.now()), messageFrom(await taken(), Date.now())])
    await using _ = working(w.app)
    assert.deepEqual(await client.get(good.id), { value: 4 })
    assert.deepEqual(await client.get(bad.id), { raised: 'ValueError', module: 'builtins', args: ['boom'] })
    assert.deepEqual(w.errors, [])
  })

  it('answer who waits for a chain, at its end', async () => {
    const good = await client.send('chain(add.s(1, 1), add.s(10)).apply_async()')
    const bad = await client.send("chain(fail.s('x'), add.s(10)).apply_async()")
    await w.broker.publish([messageFrom(await taken(), Date.now()), messageFrom(await taken(), Date.now())])
    await using _ = working(w.app)
    assert.deepEqual(await client.get(good.id), { value: 12 })
    assert.deepEqual(await client.get(bad.id), { raised: 'ValueError', module: 'builtins', args: ['x'] })
  })

  it('complete no chord, of which there is one word', async () => {
    const body = { task: 'add', args: [], kwargs: {}, options: {} }
    const messages = ['one', 'two'].map((id) => aMessage({ id, task: 'add', args: [1, 1], options: { celery: { chord: body } } }))
    await w.broker.publish(messages)
    await using _ = working(w.app)
    for (const { id } of messages) await w.app.result(id).get({ timeout: 10 })
    assert.deepEqual(
      w.errors.splice(0).map((error) => String(error)),
      ["ConfigurationError: add one is of a chord of Celery's that does not hear of its end"],
    )
  })

  it('are not kept for tasks that no such client sent', async () => {
    await using _ = working(w.app)
    const result = await w.app.sendTask('add', [1, 1])
    assert.equal(await result.get({ timeout: 10 }), 2)
    assert.deepEqual(await w.database.all('SELECT 1 FROM celery_outbox', []), [])
  })
})
