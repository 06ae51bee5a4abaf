import assert from 'node:assert/strict'
import type { Broker, Delivery } from '../../src/lib/broker/broker.js'
import type { TaskMessage } from '../../src/lib/task/message.js'
import { aMessage } from '../helpers/rows.js'

/** An empty broker, and the time it goes by. */
export interface BrokerWorld extends AsyncDisposable {
  readonly now: () => number
  /** Lets this much time pass: a clock moved by hand, or a real wait. */
  readonly pass: (ms: number) => Promise<void>
  /** One more program that uses the same broker. */
  readonly connect: () => Promise<Broker>
}

const LEASE_MS = 1000
const Q = ['default']

const ids = (deliveries: readonly Delivery[]): string[] => deliveries.map(({ message }) => message.id)

const named = (id: string, given: Partial<TaskMessage> = {}): TaskMessage => aMessage({ id, ...given })

/** The only delivery there is. */
async function receiveOne(broker: Broker): Promise<Delivery> {
  const [delivery, ...more] = await broker.receive(Q, 10, LEASE_MS)
  assert.ok(delivery && more.length === 0, 'one message is ready')
  return delivery
}

/** What every broker promises. A broker is supported when it passes this, and not before. */
export function brokerConformance(name: string, open: () => Promise<BrokerWorld>): void {
  describe(`the ${name} broker`, () => {
    it('delivers a message as it was published, for the first time', async () => {
      await using w = await open()
      const broker = await w.connect()
      const message = named('a', {
        args: [1, { deep: [null, 'ünï'] }],
        kwargs: { k: true },
        priority: 9,
        retries: 2,
        rootId: 'r',
        parentId: 'p',
        retryOf: 'o',
        expires: 1,
        options: { headers: { h: 1 }, ignoreResult: true, resultExpires: null },
      })
      await broker.publish([message])
      const delivery = await receiveOne(broker)
      assert.deepEqual(delivery.message, message)
      assert.equal(delivery.deliveries, 1)
      assert.ok(delivery.leaseUntil > w.now())
    })

    it('delivers what another program published', async () => {
      await using w = await open()
      await (await w.connect()).publish([named('a')])
      assert.deepEqual(ids(await (await w.connect()).receive(Q, 10, LEASE_MS)), ['a'])
    })

    it('delivers a higher priority first, and within one priority what was published first', async () => {
      await using w = await open()
      const broker = await w.connect()
      await broker.publish([named('low'), named('high', { priority: 9 }), named('mid', { priority: 5 }), named('low-2')])
      await broker.publish([named('high-2', { priority: 9 })])
      assert.deepEqual(ids(await broker.receive(Q, 3, LEASE_MS)), ['high', 'high-2', 'mid'])
      assert.deepEqual(ids(await broker.receive(Q, 3, LEASE_MS)), ['low', 'low-2'])
    })

    it('delivers from the queues asked for, no more than asked for, and nothing when nothing is ready', async () => {
      await using w = await open()
      const broker = await w.connect()
      await broker.publish(['a', 'b', 'c'].map((id) => named(id, { queue: id })))
      assert.deepEqual(await broker.receive(Q, 10, LEASE_MS), [])
      assert.deepEqual(await broker.receive([], 10, LEASE_MS), [])
      assert.equal((await broker.receive(['a', 'b'], 1, LEASE_MS)).length, 1)
      assert.equal((await broker.receive(['a', 'b'], 10, LEASE_MS)).length, 1)
      assert.deepEqual(ids(await broker.receive(['b', 'c'], 10, LEASE_MS)), ['c'])
    })

    it('forgets a message that is acked, and says that a second ack did nothing', async () => {
      await using w = await open()
      const broker = await w.connect()
      await broker.publish([named('a')])
      const delivery = await receiveOne(broker)
      assert.deepEqual([await broker.ack(delivery), await broker.ack(delivery)], [true, false])
      await w.pass(LEASE_MS + 1)
      assert.deepEqual(await broker.receive(Q, 10, LEASE_MS), [])
    })

    it('forgets a message that is rejected without requeue', async () => {
      await using w = await open()
      const broker = await w.connect()
      await broker.publish([named('a')])
      const delivery = await receiveOne(broker)
      assert.equal(await broker.reject(delivery, { requeue: false }), true)
      await w.pass(LEASE_MS + 1)
      assert.deepEqual(await broker.receive(Q, 10, LEASE_MS), [])
      assert.equal(await broker.reject(delivery, { requeue: true }), false)
    })

    it('brings a requeued message back at once, to the front of its priority, and counts the delivery', async () => {
      await using w = await open()
      const broker = await w.connect()
      await broker.publish([named('a'), named('b'), named('urgent', { priority: 1 })])
      const [urgent, first] = await broker.receive(Q, 2, LEASE_MS)
      assert.ok(first && urgent)
      assert.equal(await broker.reject(first, { requeue: true }), true)
      const again = await broker.receive(Q, 10, LEASE_MS)
      assert.deepEqual(
        again.map(({ message, deliveries }) => [message.id, deliveries]),
        [
          ['a', 2],
          ['b', 1],
        ],
      )
    })

    it('keeps a message from everybody else for the length of the lease, and then delivers it again', async () => {
      await using w = await open()
      const [first, second] = [await w.connect(), await w.connect()]
      await first.publish([named('a')])
      await receiveOne(first)
      await w.pass(LEASE_MS / 2)
      assert.deepEqual(await second.receive(Q, 10, LEASE_MS), [])
      await w.pass(LEASE_MS / 2 + 1)
      assert.equal((await receiveOne(second)).deliveries, 2)
    })

    it('keeps a message for its holder as long as the lease is extended', async () => {
      await using w = await open()
      const [first, second] = [await w.connect(), await w.connect()]
      await first.publish([named('a'), named('b')])
      const held = await first.receive(Q, 10, LEASE_MS)
      for (let i = 0; i < 3; i++) {
        await w.pass(LEASE_MS - 100)
        await first.extend(held, w.now() + LEASE_MS)
        assert.deepEqual(await second.receive(Q, 10, LEASE_MS), [])
      }
      await w.pass(LEASE_MS + 1)
      assert.deepEqual(ids(await second.receive(Q, 10, LEASE_MS)).sort(), ['a', 'b'])
    })

    it('does nothing for a holder that has lost its message to another', async () => {
      await using w = await open()
      const [slow, quick] = [await w.connect(), await w.connect()]
      await slow.publish([named('a')])
      const lost = await receiveOne(slow)
      await w.pass(LEASE_MS + 1)
      const held = await receiveOne(quick)
      assert.equal(await slow.ack(lost), false)
      assert.equal(await slow.reject(lost, { requeue: true }), false)
      assert.equal(await slow.reject(lost, { requeue: false }), false)
      await slow.extend([lost], w.now() + 100 * LEASE_MS)
      assert.deepEqual(await slow.receive(Q, 10, LEASE_MS), [], 'the other still holds it')
      await w.pass(LEASE_MS + 1)
      assert.equal((await receiveOne(quick)).deliveries, 3, 'and for its own lease only')
      assert.equal(await quick.ack(held), false)
    })

    it('passes over the lost one when it extends several', async () => {
      await using w = await open()
      const broker = await w.connect()
      await broker.publish([named('a'), named('b')])
      const held = await broker.receive(Q, 10, LEASE_MS)
      assert.ok(held[0])
      await broker.ack(held[0])
      await broker.extend(held, w.now() + 2 * LEASE_MS)
      await w.pass(LEASE_MS + 1)
      assert.deepEqual(await broker.receive(Q, 10, LEASE_MS), [])
    })

    it('never delivers a message before its eta, and delivers it then', async () => {
      await using w = await open()
      const broker = await w.connect()
      await broker.publish([named('later', { eta: w.now() + 500, priority: 9 }), named('past', { eta: w.now() - 500 })])
      assert.equal((await receiveOne(broker)).message.id, 'past')
      await w.pass(400)
      assert.deepEqual(await broker.receive(Q, 10, LEASE_MS), [])
      await w.pass(101)
      const due = await receiveOne(broker)
      assert.deepEqual([due.message.id, due.deliveries], ['later', 1])
    })

    it('gives each message to one holder, however many ask at once', async () => {
      await using w = await open()
      const brokers = await Promise.all([w.connect(), w.connect(), w.connect(), w.connect()])
      const all = Array.from({ length: 200 }, (_, n) => named(`m${n}`, { queue: n % 2 ? 'default' : 'other' }))
      await brokers[0]?.publish(all)
      const taken: string[] = []
      await Promise.all(
        brokers.map(async (broker) => {
          for (let round = 0; round < 60; round++) taken.push(...ids(await broker.receive(['default', 'other'], 7, LEASE_MS)))
        }),
      )
      assert.deepEqual(taken.sort(), all.map(({ id }) => id).sort())
    })

    it("drops every message of a task, also one that waits for its eta or is in somebody's hands, and no other", async () => {
      await using w = await open()
      const [first, second] = [await w.connect(), await w.connect()]
      await first.publish([named('held', { priority: 9 }), named('twice'), named('twice'), named('other')])
      await first.publish([named('later', { eta: w.now() + 500 })])
      const [held] = await first.receive(Q, 1, LEASE_MS)
      assert.ok(held)
      await second.drop(['held', 'twice', 'later', 'nobody'])
      await second.drop([])
      assert.deepEqual(ids(await first.receive(Q, 10, 100 * LEASE_MS)), ['other'])
      assert.deepEqual([await first.ack(held), await first.reject(held, { requeue: true })], [false, false])
      await first.extend([held], w.now() + LEASE_MS)
      await w.pass(LEASE_MS + 1)
      assert.deepEqual(await first.receive(Q, 10, LEASE_MS), [])
    })

    it("tells whether a message is waiting or in somebody's hands, or that it cannot tell", async () => {
      await using w = await open()
      const broker = await w.connect()
      const told: (boolean | null)[] = [await broker.has('a')]
      await broker.publish([named('a')])
      told.push(await broker.has('a'))
      const delivery = await receiveOne(broker)
      told.push(await broker.has('a'))
      await broker.ack(delivery)
      told.push(await broker.has('a'))
      if (told[0] === null) assert.deepEqual(told, [null, null, null, null])
      else assert.deepEqual(told, [false, true, true, false])
    })

    it('ends a wait when a message comes from another program, when the time is up, or when it is aborted', async () => {
      await using w = await open()
      const [reader, writer] = [await w.connect(), await w.connect()]
      const never = new AbortController().signal
      const waiting = reader.wait(Q, 10_000, never)
      await writer.publish([named('a')])
      await waiting
      await receiveOne(reader)
      await reader.wait(Q, 30, never)
      await reader.wait(Q, 10_000, AbortSignal.timeout(30))
    })

    it('stores nothing of an empty publish', async () => {
      await using w = await open()
      const broker = await w.connect()
      await broker.publish([])
      assert.deepEqual(await broker.receive(Q, 10, LEASE_MS), [])
    })
  })
}
