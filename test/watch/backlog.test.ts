import assert from 'node:assert/strict'
import { Backlog } from '../../src/lib/watch/backlog.js'
import { events, received, started, succeeded } from '../helpers/celery-events.js'
import { as } from '../helpers/watching.js'

describe('the events that are not written yet', () => {
  it('are taken by task, what has waited longest first, also after it was put back', () => {
    const backlog = new Backlog()
    const [first, second, third] = events(received(1), started(2), succeeded(3))
    assert.ok(first && second && third)
    backlog.add(first, 10)
    const taken = backlog.takeAll()
    assert.deepEqual(backlog.takeAll(), [])
    for (const event of as('sent-by-it', [first])) backlog.add(event, 20)
    backlog.add(second, 30)
    for (const waiting of taken) backlog.putBack(waiting)
    assert.deepEqual(
      backlog.takeAll().map(({ events: [{ id }, ...others], since }) => [id, others.length, since]),
      [
        ['id-1', 1, 10],
        ['sent-by-it', 0, 20],
      ],
    )
  })
})
