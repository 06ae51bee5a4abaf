import assert from 'node:assert/strict'
import fc from 'fast-check'
import { newTaskId } from '../../src/lib/task/id.js'

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

const timeOf = (id: string): number => Number.parseInt(id.replace('-', '').slice(0, 12), 16)

describe('a task id', () => {
  it('is a UUID of version 7', () => {
    for (let i = 0; i < 1000; i++) assert.match(newTaskId(), UUID_V7)
  })

  it('begins with the millisecond it was made in', () => {
    const ahead = timeOf(newTaskId()) + 1
    assert.equal(timeOf(newTaskId(ahead)), ahead)
  })

  it('sorts after every id made before it in this process, whatever the clock does', () => {
    const start = Date.now()
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -50, max: 50 }), { minLength: 1, maxLength: 100 }), (jumps) => {
        const ids = jumps.map((jump) => newTaskId(start + jump))
        assert.deepEqual(ids.toSorted(), ids)
        assert.equal(new Set(ids).size, ids.length)
      }),
    )
  })

  it('keeps that order past the 4096 ids its counter gives one millisecond, by borrowing the next', () => {
    const now = timeOf(newTaskId()) + 1
    const ids = Array.from({ length: 5000 }, () => newTaskId(now))
    assert.deepEqual(ids.toSorted(), ids)
    assert.equal(timeOf(ids[4095] ?? ''), now)
    assert.equal(timeOf(ids[4096] ?? ''), now + 1)
    for (const id of ids) assert.match(id, UUID_V7)
  })

  it('does not tell the one made after it: their ends are chance', () => {
    const ends = Array.from({ length: 2000 }, () => newTaskId().slice(19))
    assert.equal(new Set(ends).size, ends.length)
  })
})
