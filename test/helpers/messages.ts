import assert from 'node:assert/strict'
import type { Delivery } from '../../src/lib/broker/broker.js'
import type { TaskMessage } from '../../src/lib/task/message.js'
import { until } from './until.js'
import type { World } from './world.js'

/** How many messages a world has, those in the hands of workers too. */
export async function countMessages({ carrier, database }: World): Promise<number> {
  if (carrier) return carrier.count()
  const [row] = await database.all<{ n: number }>('SELECT count(*) AS n FROM task_message', [])
  return row?.n ?? 0
}

/** Fails unless so many messages are left, those in the hands of workers too. A server is told of an ack after the row was written. */
export async function assertMessages(w: World, count: number): Promise<void> {
  if (w.carrier) await until(async () => (await countMessages(w)) === count, `${count} messages to be left`)
  else assert.equal(await countMessages(w), count)
}

/** Has what workers hold handed out anew while they live, as after a connection that was lost. */
export async function takeBack({ carrier, database }: World): Promise<void> {
  if (carrier) await carrier.closeConnections()
  else await database.run('UPDATE task_message SET held_until = NULL', [])
}

/** Fails unless so many messages wait for workers. A transaction's own are sent to a server after it has committed. */
export async function assertWaiting(w: World, count: number): Promise<void> {
  const { carrier } = w
  if (carrier) await until(async () => (await carrier.countReady([w.broker])) === count, `${count} messages to wait`)
  else assert.equal(await countMessages(w), count)
}

/** Waits until the messages that were published are with workers, where those fetch ahead; elsewhere they stay in the queue. */
export async function fetchedAhead({ carrier, broker }: World): Promise<void> {
  await until(async () => !carrier || (await carrier.countReady([broker])) === 0, 'every message to be fetched ahead')
}

/** Takes so many messages that nobody else is to have, as workers would get them. */
export async function take({ broker }: World, count: number, queue = 'default'): Promise<TaskMessage[]> {
  const taken: Delivery[] = []
  await until(async () => {
    taken.push(...(await broker.receive([queue], count + 1 - taken.length, 1000)))
    return taken.length >= count
  }, `${count} messages`)
  for (const delivery of taken) assert.ok(await broker.ack(delivery))
  return taken.map(({ message }) => message)
}

/** Takes every message that is ready in a queue, in the order in which workers would get them. */
export async function takeAll({ carrier, broker }: World, queue = 'default'): Promise<TaskMessage[]> {
  const ready = (await carrier?.countReady([broker], queue)) ?? 0
  const taken: Delivery[] = []
  await until(async () => {
    taken.push(...(await broker.receive([queue], 10_000, 1000)))
    return taken.length >= ready
  }, `${ready} messages`)
  await broker.leave([queue]) // what a server pushes from now on is for others
  return taken.map(({ message }) => message)
}
