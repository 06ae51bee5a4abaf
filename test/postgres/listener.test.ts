import assert from 'node:assert/strict'
import { SqlBroker } from '../../src/lib/broker/sql/sql-broker.js'
import { POSTGRES } from '../helpers/databases.js'
import { overProxy } from '../helpers/over-proxy.js'
import { onServer, postgresSuite } from '../helpers/postgres.js'
import { aMessage } from '../helpers/rows.js'
import { until } from '../helpers/until.js'
import { openWorld, type World } from '../helpers/world.js'

/** Rests until the listener is there, which a first rest has begun to open. */
async function listening(w: World): Promise<void> {
  const { signal } = new AbortController()
  await w.database.rest(w.database.heard(), signal)
  await until(() => w.database['engine']['listener' as never]['live'], 'the listener to be heard')
}

/** The connections on which programs are told, whosever they are. */
const listeners = async (): Promise<number[]> =>
  (await onServer(`SELECT pid FROM pg_stat_activity WHERE query = 'LISTEN taskledger'`)).rows.map(({ pid }) => pid)

postgresSuite(() => {
  describe('a worker that waits', () => {
    it('is told of what another program publishes, and not of what is rolled back', async () => {
      await using w = await openWorld({ databases: POSTGRES })
      const other = await w.join()
      await listening(w)
      const before = w.database.heard()
      await assert.rejects(
        other.database.write(async (sql) => {
          await other.broker.within?.(sql).publish([aMessage()])
          throw new Error('rolled back')
        }),
        /rolled back/,
      )
      assert.equal(w.database.heard(), before)
      await other.broker.publish([aMessage()])
      await until(() => w.database.heard() > before, 'the word of a new message')
      await w.database.rest(before, new AbortController().signal) // over at once: it was told meanwhile
    })

    it('is not told of another ledger of the same database', async () => {
      await using w = await openWorld({ databases: POSTGRES })
      await using stranger = await openWorld({ databases: POSTGRES })
      await listening(w)
      const before = w.database.heard()
      await stranger.broker.publish([aMessage()])
      await w.broker.publish([aMessage()])
      await until(() => w.database.heard() > before, 'the word of its own message')
      assert.equal(w.database.heard(), before + 1)
    })

    it('looks by itself where nobody is told anything, as through a pooler that shares connections', async () => {
      await using w = await openWorld({ databases: POSTGRES })
      await using far = await overProxy(w)
      far.proxy.withhold('probe ')
      const others = await listeners()
      const broker = new SqlBroker(far.database)
      const waiting = broker.wait(['default'], 10_000, new AbortController().signal)
      const pid = await until(async () => (await listeners()).find((one) => !others.includes(one)), 'the listener to ask')
      await until(async () => !(await listeners()).includes(pid), 'the listener to give up')
      await w.broker.publish([aMessage()])
      await waiting
      assert.equal((await broker.receive(['default'], 1, 1000)).length, 1)
      assert.equal(far.database.heard(), 0)
    })

    it('looks by itself once the connection it was told on is gone', async () => {
      await using w = await openWorld({ databases: POSTGRES })
      const other = await w.join()
      const others = await listeners()
      await listening(w)
      const waiting = w.broker.wait(['default'], 10_000, new AbortController().signal)
      for (const pid of await listeners()) if (!others.includes(pid)) await onServer(`SELECT pg_terminate_backend(${pid})`)
      await until(() => !w.database['engine']['listener' as never]['live'], 'the loss to be seen')
      await other.broker.publish([aMessage()])
      await waiting
      assert.equal((await w.broker.receive(['default'], 1, 1000)).length, 1)
    })
  })
})
