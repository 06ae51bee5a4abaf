import assert from 'node:assert/strict'
import { defineTask } from '../../src/lib/app/task.js'
import type { Delivery } from '../../src/lib/broker/broker.js'
import { moveToFailure, moveToSuccess } from '../../src/lib/ledger/ends.js'
import type { Owner } from '../../src/lib/ledger/moves.js'
import { moveToStarted } from '../../src/lib/ledger/starts.js'
import { SETTABLE_DEFAULTS } from '../../src/lib/task/options.js'
import { Life } from '../../src/lib/worker/life.js'
import { until } from './until.js'
import type { World } from './world.js'

/** Takes the task's message as a worker does that acks early, and starts it under a lease of half a minute. */
export async function start({ broker, database, clock }: World, taskId: string, queue = 'default'): Promise<Owner> {
  const received = async () => {
    const deliveries = await broker.receive([queue], 1000, 30_000)
    for (const other of deliveries.filter(({ message }) => message.id !== taskId)) await broker.reject(other, { requeue: true })
    return deliveries.find(({ message }) => message.id === taskId)
  }
  const delivery = await until(received, `a message of ${taskId}`) // a server may need a moment to push it
  assert.ok(await broker.ack(delivery))
  const { retries } = delivery.message
  const owner = { taskId, workerId: 'by-hand', deliveries: delivery.deliveries ?? 1, retries }
  const started = await database.write((sql) =>
    moveToStarted(sql, owner, { leaseUntil: clock.now() + 30_000, maxRetries: 3, options: null, track: true }, clock.now()),
  )
  assert.ok(started)
  return owner
}

/** Lives a published task to a good end. */
export async function succeed(w: World, taskId: string, result: string | null = null): Promise<void> {
  const owner = await start(w, taskId)
  assert.ok(await w.database.write((sql) => moveToSuccess(sql, owner, result, { at: w.clock.now(), resultExpiresAt: null })))
}

/** Lives a published task to a bad end. */
export async function fail(w: World, taskId: string, queue?: string): Promise<void> {
  const owner = await start(w, taskId, queue)
  const error = { type: 'FetchError', message: 'no answer', traceback: 'FetchError: no answer\n    at fetch' }
  assert.ok(await w.database.write((sql) => moveToFailure(sql, owner, error, { at: w.clock.now(), resultExpiresAt: null })))
}

const LATE = defineTask({ name: 'late', acksLate: true }, () => {}, SETTABLE_DEFAULTS)

/** How far a worker that dies has come with its late-ack message. RabbitMQ does not count what nobody has started. */
export type Death = 'before it was started' | 'while it ran'

/** Takes a late-ack message as a worker does that dies with it: its lease runs out, or its connection ends. */
export async function dieWith(w: World, death: Death, leaseMs = 30_000): Promise<Delivery> {
  const [delivery] = await until(async () => {
    const deliveries = await w.broker.receive(['default'], 1, leaseMs)
    return deliveries.length > 0 && deliveries
  }, 'a message to die with')
  assert.ok(delivery)
  const settings = { leaseMs, maxDeliveries: Number.POSITIVE_INFINITY, resultExpires: null }
  const life = new Life(w.database, w.broker, w.redaction, w.follower, 'dead', settings, w.clock.now)
  if (death === 'while it ran') assert.ok(await life.start(LATE, delivery))
  w.clock.advance(leaseMs + 1)
  if (w.carrier) await w.broker.reject(delivery, { requeue: true }) // all that the server does when a connection ends
  return delivery
}
