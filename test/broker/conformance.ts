import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Broker, Delivery } from '../../src/lib/broker/broker.js'
import type { TaskMessage } from '../../src/lib/task/message.js'
import { aMessage } from '../helpers/rows.js'
import { until } from '../helpers/until.js'

/** What brokers differ in. A broker that does not do one of these promises what its test says instead. */
export interface BrokerAbilities {
  /** It counts how often a message is handed out. Otherwise `deliveries` is null, each time. */
  readonly counts: boolean
  /** It finds the messages of a task: `drop` takes them away, `has` tells. Otherwise they stay, and it cannot tell. */
  readonly finds: boolean
  /** It holds a message until its eta. Otherwise it delivers it at once, with its eta. */
  readonly holds: boolean
  /** It delivers a higher priority first. Otherwise what was published first. */
  readonly prioritises: boolean
  /**
   * What is ready is received at once, and a message that comes back is the next. Otherwise messages are on their way for a moment,
   * some are fetched ahead of the one that comes back, and a lease that has run out is noticed a little later.
   */
  readonly pulls: boolean
}

/** An empty broker, and the time it goes by. */
export interface BrokerWorld extends AsyncDisposable {
  readonly now: () => number
  /** Lets this much time pass: a clock moved by hand, or a real wait. */
  readonly pass: (ms: number) => Promise<void>
  /** One more program that uses the same broker. */
  readonly connect: () => Promise<Broker>
}

interface AbleWorld extends BrokerWorld {
  readonly can: BrokerAbilities
}

export const LEASE_MS = 1000
const Q = ['default']

/** How long a message that should not come is waited for. */
const ON_ITS_WAY_MS = 60

const ids = (deliveries: readonly Delivery[]): string[] => deliveries.map(({ message }) => message.id)

const named = (id: string, given: Partial<TaskMessage> = {}): TaskMessage => aMessage({ id, ...given })

/** So many deliveries, and no more. */
async function receive(w: AbleWorld, broker: Broker, count: number, queues: readonly string[] = Q): Promise<Delivery[]> {
  const deliveries: Delivery[] = []
  const take = async () => {
    deliveries.push(...(await broker.receive(queues, count - deliveries.length, LEASE_MS)))
    return deliveries.length === count
  }
  if (w.can.pulls) assert.ok(await take(), `${count} messages are ready`)
  else await until(take, `${count} messages`)
  return deliveries
}

/** The only delivery there is. */
async function receiveOne(w: AbleWorld, broker: Broker): Promise<Delivery> {
  const [delivery] = await receive(w, broker, 1)
  assert.ok(delivery)
  await receiveNothing(w, broker)
  return delivery
}

async function receiveNothing(w: AbleWorld, broker: Broker, queues: readonly string[] = Q): Promise<void> {
  assert.deepEqual(ids(await broker.receive(queues, 10, LEASE_MS)), [])
  if (w.can.pulls) return
  await sleep(ON_ITS_WAY_MS)
  assert.deepEqual(ids(await broker.receive(queues, 10, LEASE_MS)), [])
}

/** What every broker promises. A broker is supported when it passes this, and not before. */
export function brokerConformance(name: string, can: BrokerAbilities, openBroker: () => Promise<BrokerWorld>): void {
  const open = async (): Promise<AbleWorld> => ({ ...(await openBroker()), can })
  /** A test of what not every broker does; of one that does not there is nothing to be tested, and nothing left out. */
  const itIf = (able: boolean, title: string, test: Mocha.AsyncFunc): void => {
    if (able) it(title, test)
  }

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
        expires: w.now() + 60_000,
        options: { headers: { h: 1 }, ignoreResult: true, resultExpires: null },
      })
      await broker.publish([message])
      const delivery = await receiveOne(w, broker)
      assert.deepEqual(delivery.message, message)
      assert.equal(delivery.deliveries, w.can.counts ? 1 : null)
      assert.ok(delivery.leaseUntil > w.now())
    })

    it('delivers what another program published', async () => {
      await using w = await open()
      await (await w.connect()).publish([named('a')])
      assert.deepEqual(ids(await receive(w, await w.connect(), 1)), ['a'])
    })

    it('delivers first what was published first', async () => {
      await using w = await open()
      const broker = await w.connect()
      await broker.publish(['a', 'b', 'c'].map((id) => named(id)))
      await broker.publish(['d', 'e'].map((id) => named(id)))
      assert.deepEqual(ids(await receive(w, broker, 3)), ['a', 'b', 'c'])
      assert.deepEqual(ids(await receive(w, broker, 2)), ['d', 'e'])
    })

    itIf(can.prioritises, 'delivers a higher priority first, and within one priority what was published first', async () => {
      await using w = await open()
      const broker = await w.connect()
      await broker.publish([named('low'), named('high', { priority: 9 }), named('mid', { priority: 5 }), named('low-2')])
      await broker.publish([named('high-2', { priority: 9 })])
      assert.deepEqual(ids(await receive(w, broker, 3)), ['high', 'high-2', 'mid'])
      assert.deepEqual(ids(await receive(w, broker, 2)), ['low', 'low-2'])
    })

    it('delivers from the queues asked for, no more than asked for, and nothing when nothing is ready', async () => {
      await using w = await open()
      const broker = await w.connect()
      await broker.publish(['a', 'b', 'c'].map((id) => named(id, { queue: id, routingKey: id })))
      await receiveNothing(w, broker)
      assert.deepEqual(await broker.receive([], 10, LEASE_MS), [])
      const first = await receive(w, broker, 1, ['a', 'b'])
      const second = await receive(w, broker, 1, ['a', 'b'])
      assert.deepEqual(ids([...first, ...second]).sort(), ['a', 'b'])
      assert.deepEqual(ids(await receive(w, broker, 1, ['b', 'c'])), ['c'])
    })

    it('forgets a message that is acked, and says that a second ack did nothing', async () => {
      await using w = await open()
      const broker = await w.connect()
      await broker.publish([named('a')])
      const delivery = await receiveOne(w, broker)
      assert.deepEqual([await broker.ack(delivery), await broker.ack(delivery)], [true, false])
      await w.pass(LEASE_MS + 1)
      await receiveNothing(w, broker)
    })

    it('forgets a message that is rejected without requeue', async () => {
      await using w = await open()
      const broker = await w.connect()
      await broker.publish([named('a')])
      const delivery = await receiveOne(w, broker)
      assert.equal(await broker.reject(delivery, { requeue: false }), true)
      await w.pass(LEASE_MS + 1)
      await receiveNothing(w, broker)
      assert.equal(await broker.reject(delivery, { requeue: true }), false)
    })

    it('brings a requeued message back at once, to the front of its priority, and counts the delivery', async () => {
      await using w = await open()
      const broker = await w.connect()
      await broker.publish([named('urgent', { priority: 1 }), named('a'), named('b')])
      const [urgent, first] = await receive(w, broker, 2)
      assert.ok(first && urgent)
      assert.equal(await broker.reject(first, { requeue: true }), true)
      const again = (await receive(w, broker, 2)).map(({ message, deliveries }) => [message.id, deliveries])
      if (!w.can.pulls) again.sort()
      assert.deepEqual(again, [
        ['a', w.can.counts ? 2 : null],
        ['b', w.can.counts ? 1 : null],
      ])
    })

    it('gives back what was fetched ahead when it leaves a queue, and keeps what was received', async () => {
      await using w = await open()
      const [first, second] = [await w.connect(), await w.connect()]
      await first.publish(['a', 'b', 'c'].map((id) => named(id)))
      const [held] = await receive(w, first, 1)
      assert.ok(held)
      await first.leave(Q)
      assert.deepEqual(ids(await receive(w, second, 2)), ['b', 'c'])
      assert.equal(await first.ack(held), true)
      await first.publish([named('d')])
      await second.leave(Q)
      assert.deepEqual(ids(await receive(w, first, 1)), ['d'], 'and may come again')
    })

    it('keeps a message from everybody else for the length of the lease, and then delivers it again', async () => {
      await using w = await open()
      const [first, second] = [await w.connect(), await w.connect()]
      await first.publish([named('a')])
      await receiveOne(w, first)
      await first.leave(Q)
      await w.pass(LEASE_MS / 2)
      await receiveNothing(w, second)
      await w.pass(LEASE_MS / 2 + 1)
      assert.equal((await receiveOne(w, second)).deliveries, w.can.counts ? 2 : null)
    })

    it('keeps a message for its holder as long as the lease is extended', async () => {
      await using w = await open()
      const [first, second] = [await w.connect(), await w.connect()]
      await first.publish([named('a'), named('b')])
      const held = await receive(w, first, 2)
      await first.leave(Q)
      for (let i = 0; i < 3; i++) {
        await w.pass(LEASE_MS - 100)
        await first.extend(held, w.now() + LEASE_MS)
        await receiveNothing(w, second)
      }
      await w.pass(LEASE_MS + 1)
      assert.deepEqual(ids(await receive(w, second, 2)).sort(), ['a', 'b'])
    })

    it('does nothing for a holder that has lost its message to another', async () => {
      await using w = await open()
      const [slow, quick] = [await w.connect(), await w.connect()]
      await slow.publish([named('a')])
      const lost = await receiveOne(w, slow)
      await slow.leave(Q)
      await w.pass(LEASE_MS + 1)
      const held = await receiveOne(w, quick)
      assert.equal(await slow.ack(lost), false)
      assert.equal(await slow.reject(lost, { requeue: true }), false)
      assert.equal(await slow.reject(lost, { requeue: false }), false)
      await slow.extend([lost], w.now() + 100 * LEASE_MS)
      await receiveNothing(w, slow) // the other still holds it
      await slow.leave(Q)
      await w.pass(LEASE_MS + 1)
      assert.equal((await receiveOne(w, quick)).deliveries, w.can.counts ? 3 : null, 'and for its own lease only')
      assert.equal(await quick.ack(held), false)
    })

    it('passes over the lost one when it extends several', async () => {
      await using w = await open()
      const broker = await w.connect()
      await broker.publish([named('a'), named('b')])
      const held = await receive(w, broker, 2)
      assert.ok(held[0])
      await broker.ack(held[0])
      await broker.extend(held, w.now() + 2 * LEASE_MS)
      await w.pass(LEASE_MS + 1)
      await receiveNothing(w, broker)
    })

    it('never delivers a message before its eta, and delivers it then; or at once if it cannot hold it', async () => {
      await using w = await open()
      const broker = await w.connect()
      const eta = w.now() + 500
      await broker.publish([named('past', { eta: w.now() - 500 }), named('later', { eta, priority: 9 })])
      if (!w.can.holds) {
        const deliveries = await receive(w, broker, 2)
        assert.equal(deliveries.find(({ message }) => message.id === 'later')?.message.eta, eta)
        return
      }
      assert.equal((await receiveOne(w, broker)).message.id, 'past')
      await w.pass(400)
      await receiveNothing(w, broker)
      await w.pass(101)
      const due = await receiveOne(w, broker)
      assert.deepEqual([due.message.id, due.deliveries], ['later', 1])
    })

    it('gives each message to one holder, however many ask at once', async () => {
      await using w = await open()
      const brokers = await Promise.all([w.connect(), w.connect(), w.connect(), w.connect()])
      const all = Array.from({ length: 200 }, (_, n) => {
        const queue = n % 2 ? 'default' : 'other'
        return named(`m${n}`, { queue, routingKey: queue })
      })
      await brokers[0]?.publish(all)
      const taken: string[] = []
      const share = async (broker: Broker) => taken.push(...ids(await broker.receive(['default', 'other'], 7, LEASE_MS)))
      await until(async () => {
        await Promise.all(brokers.map(share))
        return taken.length >= all.length
      }, 'all messages')
      for (const broker of brokers) await receiveNothing(w, broker, ['default', 'other'])
      assert.deepEqual(taken.sort(), all.map(({ id }) => id).sort())
    })

    itIf(can.finds, "drops every message of a task, also one that waits for its eta or is in somebody's hands, and no other", async () => {
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
      await receiveNothing(w, first)
    })

    itIf(!can.finds, 'leaves the messages of a task where they are if it cannot find them', async () => {
      await using w = await open()
      const broker = await w.connect()
      await broker.publish([named('held'), named('ready')])
      const [held] = await receive(w, broker, 1)
      assert.ok(held)
      await broker.drop(['held', 'ready'])
      assert.deepEqual(ids(await receive(w, broker, 1)), ['ready'])
      assert.equal(await broker.ack(held), true)
    })

    it("tells whether a message is waiting or in somebody's hands, or that it cannot tell", async () => {
      await using w = await open()
      const broker = await w.connect()
      const told: (boolean | null)[] = [await broker.has('a')]
      await broker.publish([named('a')])
      told.push(await broker.has('a'))
      const delivery = await receiveOne(w, broker)
      told.push(await broker.has('a'))
      await broker.ack(delivery)
      told.push(await broker.has('a'))
      if (!w.can.finds) assert.deepEqual(told, [null, null, null, null])
      else assert.deepEqual(told, [false, true, true, false])
    })

    it('ends a wait when a message comes from another program, when the time is up, or when it is aborted', async () => {
      await using w = await open()
      const [reader, writer] = [await w.connect(), await w.connect()]
      const never = new AbortController().signal
      await receiveNothing(w, reader)
      const waiting = reader.wait(Q, 10_000, never)
      await writer.publish([named('a')])
      await waiting
      await receiveOne(w, reader)
      await reader.wait(Q, 30, never)
      await reader.wait(Q, 10_000, AbortSignal.timeout(30))
    })

    it('stores nothing of an empty publish', async () => {
      await using w = await open()
      const broker = await w.connect()
      await broker.publish([])
      await receiveNothing(w, broker)
    })
  })
}
