// Publishing and executing on PostgreSQL beside graphile-worker and pg-boss, in one run. Ours keeps a full row of every task.
import { Logger, makeWorkerUtils, run } from 'graphile-worker'
import PgBoss from 'pg-boss'
import { createApp } from '../dist/index.js'
import { callsASecond } from './lib/callers.mjs'
import { atLeast, pairs, report } from './lib/pairs.mjs'
import { withDatabase, withLedger } from './lib/postgres.mjs'

const ROUNDS = 5
const IN_FLIGHT = 50
const PUBLISHED = 4_000
const EXECUTED = 10_000
const BATCH = 1_000
const PAYLOAD = { customer: 'customer-000042@example.org', order: 123456, urgent: false, note: 'a hundred bytes or so' }

const silent = new Logger(() => () => {})

const ours = {
  publish: () =>
    withLedger(async (database) => {
      const app = createApp({ database })
      const noop = app.task('noop', (_payload) => true)
      await noop.delay(PAYLOAD) // opens the ledger
      const rate = await callsASecond(PUBLISHED * 4, IN_FLIGHT, () => noop.delay(PAYLOAD))
      await app.close()
      return rate
    }),

  execute: (concurrency) =>
    withLedger(async (database) => {
      const app = createApp({ database, concurrency })
      const noop = app.task('noop', (_payload) => true)
      await noop.delay(PAYLOAD)
      await callsASecond(EXECUTED - 1, 500, () => noop.delay(PAYLOAD))
      let left = EXECUTED
      const allDone = new Promise((resolve) => {
        app.on('succeeded', () => --left === 0 && resolve())
      })
      const worker = app.worker()
      const from = performance.now()
      const running = worker.run()
      await allDone
      const seconds = (performance.now() - from) / 1000
      worker.stop()
      await running
      await app.close()
      return EXECUTED / seconds
    }),
}

const graphile = {
  publish: () =>
    withDatabase(async (connectionString) => {
      const utils = await makeWorkerUtils({ connectionString, logger: silent })
      await utils.migrate()
      const rate = await callsASecond(PUBLISHED, IN_FLIGHT, () => utils.addJob('noop', PAYLOAD))
      await utils.release()
      return rate
    }),

  /** Its defaults: one job at a time, no queue of its own. */
  execute: () =>
    withDatabase(async (connectionString) => {
      const utils = await makeWorkerUtils({ connectionString, logger: silent })
      await utils.migrate()
      await utils.addJobs(Array.from({ length: EXECUTED }, () => ({ identifier: 'noop', payload: PAYLOAD })))
      let left = EXECUTED
      let done
      const allDone = new Promise((resolve) => {
        done = resolve
      })
      const from = performance.now()
      const runner = await run({
        connectionString,
        logger: silent,
        noHandleSignals: true,
        taskList: { noop: () => --left === 0 && done() },
      })
      await allDone
      const seconds = (performance.now() - from) / 1000
      await runner.stop()
      await utils.release()
      return EXECUTED / seconds
    }),
}

const boss = {
  /** Fetching and completing `BATCH` jobs at a time, its fastest way. */
  execute: () =>
    withDatabase(async (connectionString) => {
      const pgBoss = new PgBoss({ connectionString, supervise: false, schedule: false })
      pgBoss.on('error', () => {})
      await pgBoss.start()
      await pgBoss.createQueue('noop')
      for (let n = 0; n < EXECUTED; n += BATCH) await pgBoss.insert(Array.from({ length: BATCH }, () => ({ name: 'noop', data: PAYLOAD })))
      const from = performance.now()
      for (let n = 0; n < EXECUTED; ) {
        const jobs = await pgBoss.fetch('noop', { batchSize: BATCH })
        const ids = jobs.map(({ id }) => id)
        await pgBoss.complete('noop', ids)
        n += ids.length
      }
      const seconds = (performance.now() - from) / 1000
      await pgBoss.stop({ graceful: false })
      return EXECUTED / seconds
    }),
}

report([
  atLeast(`publish, ${IN_FLIGHT} in flight (raw: graphile-worker addJob)`, '/s', await pairs(ROUNDS, ours.publish, graphile.publish), 3),
  atLeast(
    `execute, ${BATCH} at one time (raw: graphile-worker, its default)`,
    '/s',
    await pairs(ROUNDS, () => ours.execute(BATCH), graphile.execute),
    3,
  ),
  atLeast(
    `execute, ${BATCH} at one time (raw: pg-boss, batches of ${BATCH})`,
    '/s',
    await pairs(ROUNDS, () => ours.execute(BATCH), boss.execute),
    1,
  ),
])
