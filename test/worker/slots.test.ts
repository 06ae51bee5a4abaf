import assert from 'node:assert/strict'
import type { Delivery } from '../../src/lib/broker/broker.js'
import { Slots } from '../../src/lib/worker/slots.js'
import { aMessage } from '../helpers/rows.js'

const aDelivery = (tag: string): Delivery => ({ message: aMessage({ id: tag }), deliveries: 1, leaseUntil: 0, tag })

describe('the slots of a worker', () => {
  it('are free while those that had them are settled, and no freer once these are released', () => {
    const slots = new Slots()
    const [a, b] = [slots.take(aDelivery('a')), slots.take(aDelivery('b'))]
    assert.equal(slots.size, 2)
    slots.free([a, b])
    assert.deepEqual([slots.size, slots.all], [0, [a, b]])
    const c = slots.take(aDelivery('c'))
    slots.release(a)
    assert.equal(slots.size, 1)
    slots.release(b)
    assert.deepEqual([slots.size, slots.all], [1, [c]])
  })

  it('are taken again by those that are to be settled by themselves', () => {
    const slots = new Slots()
    const a = slots.take(aDelivery('a'))
    slots.free([a])
    slots.retake(a)
    assert.equal(slots.size, 1)
    slots.release(a)
    assert.equal(slots.size, 0)
  })

  it('wake who waits for one when a body has ended, and when a delivery is released', async () => {
    const slots = new Slots()
    const a = slots.take(aDelivery('a'))
    let woken = slots.fewer()
    slots.free([a])
    await woken
    woken = slots.fewer()
    slots.release(a)
    await woken
  })
})
