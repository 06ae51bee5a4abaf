import assert from 'node:assert/strict'
import { suitesOn } from '../helpers/databases.js'
import { POOLED, poolerSuite } from '../helpers/pooler.js'
import { inFull } from '../helpers/suites.js'
import { until } from '../helpers/until.js'
import { openWorld } from '../helpers/world.js'

await suitesOn({ ledger: POOLED }, [
  'broker/sql-broker',
  'publish/publisher',
  'schedule/sender',
  ...inFull(['worker/acknowledgement', 'worker/workflows']),
])

poolerSuite(() => {
  describe('a ledger behind a pooler that gives each transaction another connection', () => {
    it('is worked on by several programs with more connections than it has', async () => {
      await using w = await openWorld({ databases: POOLED, now: Date.now })
      const programs = [w, await w.join(), await w.join()]
      const declared = programs.map(({ app }) => app.task('add', (x: number, y: number) => x + y))
      const workers = programs.map(({ app }) => app.worker())
      const running = workers.map((worker) => worker.run())

      const sent = await Promise.all(Array.from({ length: 300 }, (_, i) => declared[i % 3]?.delay(i, 1)))

      assert.deepEqual(
        await Promise.all(sent.map((result) => result?.get())),
        sent.map((_, i) => i + 1),
      )
      for (const worker of workers) worker.stop()
      await Promise.all(running)
      assert.deepEqual(
        programs.flatMap(({ errors }) => errors),
        [],
      )
    })

    it('has a transaction of the caller hold a row and its message', async () => {
      await using w = await openWorld({ databases: POOLED })
      const add = w.app.task('add', (x: number, y: number) => x + y)
      const db = await w.app.knex()
      const rows = async () => (await w.app.tasks.list()).length
      await assert.rejects(
        db.transaction(async (trx) => {
          await add.applyAsync([1, 2], { trx })
          throw new Error('rolled back')
        }),
        /^Error: rolled back$/,
      )
      assert.equal(await rows(), 0)
      await db.transaction(async (trx) => {
        await add.applyAsync([1, 2], { trx })
      })
      assert.equal(await rows(), 1)
    })

    it('tells a worker of nothing, which it finds out', async () => {
      await using w = await openWorld({ databases: POOLED })
      const listener = w.database['engine']['listener' as never] as { readonly live: boolean; readonly client: unknown }
      await w.database.rest(w.database.heard(), new AbortController().signal)
      await until(() => listener.client !== null, 'the listener to ask')
      await until(() => listener.client === null, 'the listener to give up')
      assert.equal(listener.live, false)
    })
  })
})
