import assert from 'node:assert/strict'
import { moveToFailure, moveToStarted, moveToSuccess, type Owner } from '../../src/lib/ledger/moves.js'
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
