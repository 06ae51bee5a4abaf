// Tasks that do nothing, from RabbitMQ: our worker, which keeps a full row of each, beside a consumer that only acks, and beside Celery's.
// Every side finds its own durable queue full of the same messages, and is measured once it has worked off the first of them.
import { connect } from 'amqplib'
import { createApp } from '../dist/index.js'
import { callsASecond } from './lib/callers.mjs'
import { withCelery } from './lib/celery.mjs'
import { migratedFile, withFolder } from './lib/ledger.mjs'
import { atLeast, inTurns, report, sideBySide } from './lib/pairs.mjs'
import { withDatabase, withLedger } from './lib/postgres.mjs'
import { RABBITMQ, withQueue } from './lib/rabbitmq.mjs'
import { ARGS } from './lib/raw.mjs'

const ROUNDS = 5
const COUNT = 12_000
/** Messages before those that are measured. */
const WARM = 2_000
/** Celery's worker takes so much longer when it keeps results that it is given fewer. */
const COUNT_KEEPING = 1_800
const WARM_KEEPING = 300

const CONCURRENCY = 100
/** What the settings make of it. */
const PREFETCH = 4 * CONCURRENCY

function noopApp(database, queue, concurrency = CONCURRENCY) {
  const app = createApp({ database, broker: RABBITMQ, defaultQueue: queue, concurrency })
  return { app, noop: app.task('noop', (..._args) => true) }
}

/** Tells how many of `count` ends a second there were after the first `warm`. */
function rateOf(count, warm) {
  let ended = 0
  let from = 0
  let resolve
  const rate = new Promise((done) => {
    resolve = done
  })
  const end = () => {
    ended += 1
    if (ended === warm) from = performance.now()
    if (ended === count) resolve((count - warm) / ((performance.now() - from) / 1000))
  }
  return { end, rate }
}

const publish = (noop, count) => callsASecond(count, 500, () => noop.delay(...ARGS))

/** The same messages, and no ledger that knows of them. */
async function publishForeign(queue, count) {
  const { app, noop } = noopApp('sqlite::memory:', queue)
  await publish(noop, count)
  await app.close()
}

async function work(app) {
  const { end, rate } = rateOf(COUNT, WARM)
  app.on('succeeded', end) // once the commit is written that says so
  const worker = app.worker()
  const running = worker.run()
  const measured = await rate
  worker.stop()
  await running
  await app.close()
  return measured
}

/** The rows of all tasks are there, as `delay` left them. */
const ours = (database, concurrency) =>
  withQueue(async (queue) => {
    const { app, noop } = noopApp(database, queue, concurrency)
    await publish(noop, COUNT)
    return work(app)
  })

/** No task has a row: somebody else sent it. */
const oursForeign = (database) =>
  withQueue(async (queue) => {
    await publishForeign(queue, COUNT)
    return work(noopApp(database, queue).app)
  })

const inFile = (use) => withFolder(async (folder) => use(`sqlite:${await migratedFile(folder, 'ledger.db')}`))

const bare = () =>
  withQueue(async (queue) => {
    await publishForeign(queue, COUNT)
    const connection = await connect(RABBITMQ, { noDelay: true })
    const channel = await connection.createChannel()
    await channel.prefetch(PREFETCH)
    const { end, rate } = rateOf(COUNT, WARM)
    await channel.consume(queue, (message) => {
      channel.ack(message)
      end()
    })
    const measured = await rate
    await connection.close()
    return measured
  })

const celery = (count, warm, env = {}) =>
  withQueue(async (queue) => {
    await publishForeign(queue, count)
    const settings = { BROKER: RABBITMQ, QUEUE: queue, COUNT: String(count), WARM: String(warm), ...env }
    return withCelery(settings, async (worker) => Number(await worker.said('rate')))
  })

const keepingCelery = () =>
  withDatabase((url) => celery(COUNT_KEEPING, WARM_KEEPING, { BACKEND: `db+${url.replace('postgres:', 'postgresql:')}` }))

const sides = {
  ours: () => inFile((database) => ours(database)),
  bare,
  keepingCelery,
  celery: () => celery(COUNT, WARM),
  foreign: () => inFile(oursForeign),
  postgres: () => withLedger((database) => ours(database)),
  ten: () => inFile((database) => ours(database, 10)),
}
const measured = await inTurns(ROUNDS, sides)
const line = (name, one, other, target) => atLeast(name, '/s', sideBySide(measured[one], measured[other]), target)

report([
  line(`RabbitMQ, concurrency ${CONCURRENCY} (raw: a consumer that only acks, prefetch ${PREFETCH})`, 'ours', 'bare', 0.5),
  line('RabbitMQ (raw: Celery, results in PostgreSQL)', 'ours', 'keepingCelery', 10),
  line('RabbitMQ (raw: Celery, no results)', 'ours', 'celery', 1),
  line('RabbitMQ, tasks without a row (raw: a consumer that only acks)', 'foreign', 'bare', null),
  line('RabbitMQ, ledger in PostgreSQL (raw: Celery, results in PostgreSQL)', 'postgres', 'keepingCelery', null),
  line('RabbitMQ, concurrency 10 (raw: Celery, no results)', 'ten', 'celery', null),
])
