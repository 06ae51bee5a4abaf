import assert from 'node:assert/strict'
import type { EventsOfTask, TaskEvent, WorkerEvent } from '../../src/lib/celery/events.js'
import { findStale } from '../../src/lib/ledger/stale.js'
import { Lives, writeLives } from '../../src/lib/watch/lives.js'
import { recordEvents } from '../../src/lib/watch/record.js'
import { beatSession, beginSession } from '../../src/lib/watch/session.js'
import { A, B, events, received, retried, sent, started, succeeded } from '../helpers/celery-events.js'
import { CLUSTER, LEASE_MS, termsOf } from '../helpers/watching.js'
import { DAWN, openWorld, type World } from '../helpers/world.js'

/** What the clocks of workers show when ours shows DAWN. */
const T = DAWN / 1000

/** A watch whose clock is the test's, without a broker. */
function watchOf(w: World) {
  const lives = new Lives(LEASE_MS)
  const terms = { ...termsOf(w.follower), leaseMsOf: lives.leaseMsOf }
  return {
    lives,
    begin: () => w.database.write((sql) => beginSession(sql, CLUSTER, w.clock.now() + LEASE_MS, w.clock.now())),
    end: () => w.database.write((sql) => beatSession(sql, CLUSTER, w.clock.now(), w.clock.now())),
    async see(of: readonly TaskEvent[], id = 'id-1') {
      const task = of.map((event): TaskEvent => ({ ...event, id }))
      for (const event of task) lives.hear(event, w.clock.now())
      await w.database.write((sql) => recordEvents(sql, task as unknown as EventsOfTask, CLUSTER, terms, false, w.clock.now()))
    },
    async renew() {
      const [now, taken] = [w.clock.now(), lives.take(true)]
      await w.database.write(async (sql) => {
        await writeLives(sql, taken, lives.leaseMsOf, now)
        await beatSession(sql, CLUSTER, now + LEASE_MS, now)
      })
    },
    reason: async (id = 'id-1') => {
      const stale = await findStale(w.database, { cutoff: w.clock.now(), now: w.clock.now(), limit: 100 })
      return stale.find(({ taskId }) => taskId === id)?.reason
    },
  }
}

const sign = (kind: WorkerEvent['kind'], at: number, given: Partial<WorkerEvent> = {}): WorkerEvent => ({
  kind,
  host: A,
  pid: 7,
  at: at * 1000,
  freq: 2,
  processed: 5,
  ...given,
})

describe('a task that a Celery worker has started', () => {
  it('is stuck while the worker’s heartbeats come, and lost once they have not for a lease', async () => {
    await using w = await openWorld()
    const watch = watchOf(w)
    await watch.begin()
    await watch.see(events(received(T - 2), started(T - 1)))
    for (let beats = 0; beats < 10; beats++) {
      w.clock.advance(10_000)
      watch.lives.hear(sign('heartbeat', w.clock.now() / 1000), w.clock.now())
      await watch.renew()
      assert.equal(await watch.reason(), 'stuck')
    }
    w.clock.advance(LEASE_MS - 1)
    await watch.renew()
    assert.equal(await watch.reason(), 'stuck')
    w.clock.advance(1)
    await watch.renew()
    assert.equal(await watch.reason(), 'lost')
  })

  it('is unclaimed before it is started, when its message came back, and while it waits for a retry', async () => {
    await using w = await openWorld()
    const watch = watchOf(w)
    await watch.begin()
    await watch.see(events(sent(T - 9)))
    assert.equal(await watch.reason(), 'unclaimed')
    await watch.see(events(received(T - 8), started(T - 7), retried(T - 6)))
    assert.equal(await watch.reason(), 'unclaimed')
    await watch.see(events(received(T - 5, 1), started(T - 4)))
    assert.equal(await watch.reason(), 'stuck')
    await watch.see(events(received(T - 3, 1, B)))
    assert.equal(await watch.reason(), 'unclaimed')
    await watch.see(events(started(T - 2, B), succeeded(T - 1, B)))
    assert.equal(await watch.reason(), undefined)
  })

  for (const [name, successor] of [
    ['with another pid', sign('heartbeat', T, { pid: 8 })],
    ['with the same pid, as in a container', sign('online', T, { processed: 0 })],
  ] as const) {
    it(`is lost at once when a new worker of that name, ${name}, tells that it is there`, async () => {
      await using w = await openWorld()
      const watch = watchOf(w)
      await watch.begin()
      await watch.see(events(received(T - 2), started(T - 1)))
      await watch.renew()
      watch.lives.hear(successor, w.clock.now())
      await watch.renew()
      assert.equal(await watch.reason(), 'lost')
      await watch.see(
        events(received(T + 1), started(T + 2)).map((event) => ({ ...event, pid: successor.pid })),
        'id-2',
      )
      watch.lives.hear(sign('heartbeat', T - 0.5), w.clock.now()) // of the one before, and late
      await watch.renew()
      w.clock.advance(10_000)
      watch.lives.hear(sign('heartbeat', T + 10, { pid: successor.pid }), w.clock.now())
      await watch.renew()
      w.clock.advance(LEASE_MS - 1)
      await watch.renew()
      assert.deepEqual([await watch.reason(), await watch.reason('id-2')], ['lost', 'stuck'])
    })
  }

  it('is not lost when its worker only had to connect again', async () => {
    await using w = await openWorld()
    const watch = watchOf(w)
    await watch.begin()
    await watch.see(events(received(T - 2), started(T - 1)))
    await watch.renew()
    watch.lives.hear(sign('offline', T), w.clock.now())
    await watch.renew()
    assert.equal(await watch.reason(), 'lost')
    watch.lives.hear(sign('online', T + 1), w.clock.now())
    await watch.renew()
    assert.equal(await watch.reason(), 'stuck')
  })

  it('is lost when its worker has said goodbye', async () => {
    await using w = await openWorld()
    const watch = watchOf(w)
    await watch.begin()
    await watch.see(events(received(T - 2), started(T - 1)))
    watch.lives.hear(sign('offline', T), w.clock.now())
    await watch.renew()
    assert.equal(await watch.reason(), 'lost')
  })

  it('may be silent for longer than a lease when its worker’s heartbeats come seldom', async () => {
    await using w = await openWorld()
    const watch = watchOf(w)
    await watch.begin()
    watch.lives.hear(sign('heartbeat', T - 5, { freq: 60 }), w.clock.now())
    await watch.see(events(received(T - 2), started(T - 1)))
    await watch.renew()
    w.clock.advance(179_999)
    await watch.renew()
    assert.equal(await watch.reason(), 'stuck')
    w.clock.advance(1)
    await watch.renew()
    assert.equal(await watch.reason(), 'lost')
  })

  it('is not called lost because nobody watches any more, and not before its worker had the time to be heard again', async () => {
    await using w = await openWorld()
    const first = watchOf(w)
    await first.begin()
    await first.see(events(received(T - 2), started(T - 1)))
    await first.see(events(received(T - 2, 0, B), started(T - 1, B)), 'id-2')
    w.clock.advance(LEASE_MS + 1)
    first.lives.hear(sign('heartbeat', T + 20), w.clock.now())
    await first.renew()
    await first.end()
    w.clock.advance(9 * LEASE_MS)
    assert.deepEqual([await first.reason(), await first.reason('id-2')], ['stuck', 'lost'])

    const second = watchOf(w)
    await second.begin()
    assert.deepEqual([await second.reason(), await second.reason('id-2')], ['stuck', 'lost'])
    w.clock.advance(LEASE_MS - 1)
    await second.renew()
    assert.equal(await second.reason(), 'stuck')
    w.clock.advance(1)
    await second.renew()
    assert.equal(await second.reason(), 'lost')
    second.lives.hear(sign('heartbeat', T + 400), w.clock.now())
    await second.renew()
    assert.deepEqual([await second.reason(), await second.reason('id-2')], ['stuck', 'lost'])
  })

  it('keeps its lease when what is to be written could not be', async () => {
    await using w = await openWorld()
    const watch = watchOf(w)
    await watch.begin()
    await watch.see(events(received(T - 2), started(T - 1)))
    w.clock.advance(20_000)
    watch.lives.hear(sign('heartbeat', T + 20), w.clock.now())
    watch.lives.putBack(watch.lives.take(true))
    await watch.renew()
    w.clock.advance(LEASE_MS - 1)
    await watch.renew()
    assert.equal(await watch.reason(), 'stuck')
  })
})
