// What tasks that are due tomorrow cost a worker of today: its memory, and the time until a task behind them starts. Ours has its
// ledger in an SQLite file; the messages of both workers come from RabbitMQ.
import { fork } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { createApp } from '../dist/index.js'
import { callsASecond } from './lib/callers.mjs'
import { withCelery } from './lib/celery.mjs'
import { migratedFile, withFolder } from './lib/ledger.mjs'
import { report } from './lib/pairs.mjs'
import { RABBITMQ, withQueue } from './lib/rabbitmq.mjs'
import { ARGS } from './lib/raw.mjs'

const MANY = 100_000
/** For Celery's worker, which holds each of them in its memory when it may fetch so many ahead. */
const FAR = 10_000
const DAY = 86_400
const MAX_GROWTH_MB = 5
const MAX_LATE_MS = 1000
/** How long a worker of Celery's, as it is when nothing is set, is waited for. */
const PATIENCE_MS = 20_000
const TRIES = 10
/** Tasks that a worker has seen before its memory is looked at. */
const WARM = 5_000

const inFlight = (count, call) => callsASecond(count, 500, call)

/** Appends when it started to a file; both workers know it. */
const declared = (app) => app.task('started_at', (_file, ..._args) => null)

/** A worker of ours, in a process of its own. */
async function withWorker(settings, use) {
  const path = fileURLToPath(new URL('./lib/worker-of-its-own.mjs', import.meta.url))
  const child = fork(path, settings, { execArgv: ['--expose-gc'] })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  const kill = () => child.kill('SIGKILL')
  process.once('exit', kill)
  const memory = () =>
    new Promise((resolve) => {
      child.once('message', resolve)
      child.send('memory')
    })
  try {
    return await use(memory)
  } finally {
    child.send('stop')
    await ended
    process.off('exit', kill)
  }
}

/** The instants at which tasks started. */
const starts = (file) => (existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n').map(Number) : [])

/** Milliseconds from `from` to the start of the task that `send` sends; null: not within the patience one has. */
async function lateness(file, from, send, patienceMs = PATIENCE_MS) {
  const before = starts(file).length
  await send()
  const deadline = performance.now() + patienceMs
  while (starts(file).length === before) {
    if (performance.now() > deadline) return null
    await sleep(5)
  }
  return starts(file).at(-1) - from
}

const worst = (times) => (times.includes(null) ? null : Math.max(...times))

/** Puts messages with an eta into a queue, as Celery's clients do. */
async function sendFar(queue, file) {
  const app = createApp({ database: 'sqlite::memory:', broker: RABBITMQ, defaultQueue: queue, scheduleEta: false })
  const task = declared(app)
  await inFlight(FAR, () => task.applyAsync([file, ...ARGS], { countdown: DAY }))
  await app.close()
}

async function sendDue(queue, file) {
  const app = createApp({ database: 'sqlite::memory:', broker: RABBITMQ, defaultQueue: queue })
  await declared(app).delay(file)
  await app.close()
}

/** Our worker, while another process schedules `MANY` tasks. */
const ours = (folder) =>
  withQueue(async (queue) => {
    const file = join(folder, 'ours')
    const database = `sqlite:${await migratedFile(folder, 'ledger.db')}`
    const app = createApp({ database, broker: RABBITMQ, defaultQueue: queue })
    const task = declared(app)
    const tomorrow = (count) => inFlight(count, () => task.applyAsync([file, ...ARGS], { countdown: DAY }))
    const measured = await withWorker([database, RABBITMQ, queue], async (memory) => {
      await tomorrow(WARM)
      await inFlight(WARM, () => task.delay(join(folder, 'warm')))
      await lateness(file, 0, () => task.delay(file))
      const before = await memory()
      await tomorrow(MANY)
      const grown = ((await memory()) - before) / 1e6
      const sent = []
      const scheduled = []
      for (let i = 0; i < TRIES; i++) {
        sent.push(await lateness(file, Date.now(), () => task.delay(file)))
        const eta = new Date(Date.now() + 500)
        scheduled.push(await lateness(file, eta.getTime(), () => task.applyAsync([file], { eta })))
      }
      return { grown, sent: worst(sent), scheduled: worst(scheduled) }
    })
    await app.close()
    return measured
  })

/** How late a task starts that is sent behind `FAR` messages with an eta, to a worker that runs; null: not within one's patience. */
async function behindMessages(queue, file) {
  if ((await lateness(file, 0, () => sendDue(queue, file))) === null) throw new Error('the worker does not start a task')
  await sendFar(queue, file)
  const from = Date.now()
  return lateness(file, from, () => sendDue(queue, file))
}

const oursBehind = (folder) =>
  withQueue(async (queue) => {
    const database = `sqlite:${await migratedFile(folder, 'behind.db')}`
    return withWorker([database, RABBITMQ, queue], () => behindMessages(queue, join(folder, 'ours-behind')))
  })

const celeryBehind = (folder, options) =>
  withQueue((queue) =>
    withCelery(
      { BROKER: RABBITMQ, QUEUE: queue },
      async (worker) => {
        await worker.said('ready')
        const before = residentOf(worker.pid)
        const late = await behindMessages(queue, join(folder, `celery${options.join('')}`))
        return { late, grown: (residentOf(worker.pid) - before) / 1e6 }
      },
      options,
    ),
  )

/** Of Celery's main process, which holds what waits; its children hold no more than before. */
function residentOf(pid) {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024
}

const line = (name, unit, one, other, most) => ({
  name,
  unit,
  ours: one ?? Number.POSITIVE_INFINITY,
  raw: other,
  ratio: null,
  target: most === null ? '' : `<= ${most.toLocaleString('en')} ${unit}`,
  ok: most === null || (one !== null && one <= most),
})

await withFolder(async (folder) => {
  const alone = await ours(folder)
  const behind = await oursBehind(folder)
  const asItIs = await celeryBehind(folder, [])
  const unlimited = await celeryBehind(folder, ['--prefetch-multiplier', '30000'])
  const far = FAR.toLocaleString('en')
  const waited = asItIs.late === null ? `not started after ${PATIENCE_MS / 1000} s` : 'as it is set by default'
  report([
    line(
      `memory for ${MANY.toLocaleString('en')} tasks of tomorrow (raw: Celery, for ${far})`,
      'MB',
      alone.grown,
      unlimited.grown,
      MAX_GROWTH_MB,
    ),
    line(`a task sent behind them starts after (raw: Celery, ${waited})`, 'ms', alone.sent, asItIs.late ?? PATIENCE_MS, MAX_LATE_MS),
    line('a task starts after its eta', 'ms', alone.scheduled, null, MAX_LATE_MS),
    line(`a task behind ${far} messages of tomorrow (raw: Celery, which may fetch them all)`, 'ms', behind, unlimited.late, null),
  ])
})
