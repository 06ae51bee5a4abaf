// A task that does nothing through our pool of processes, beside two libraries that keep such pools. No database takes part.
import { fileURLToPath } from 'node:url'
import Tinypool from 'tinypool'
import workerpool from 'workerpool'
import { ProcessPool } from '../dist/lib/worker/pool/process-pool.js'
import { atLeast, pairs, report } from './lib/pairs.mjs'
import { ARGS } from './lib/raw.mjs'

const PROCESSES = 2
const COUNT = 2000
const ROUNDS = 15

const path = (file) => fileURLToPath(new URL(`./lib/${file}`, import.meta.url))

/** What each pool carries to its process: a message with about a hundred bytes of arguments. */
const message = { id: 'noop', task: 'noop', args: ARGS, kwargs: {}, queue: 'default', retries: 0, options: {}, eta: null, expires: null }
const delivery = { message, deliveries: 1, leaseUntil: 0, tag: '' }

/** Runs `COUNT` tasks, each slot taking the next as soon as it has done one, as a worker gives them out. Returns how many a second. */
async function rate(run) {
  let left = COUNT
  const slot = async () => {
    while (left-- > 0) await run()
  }
  const from = performance.now()
  await Promise.all(Array.from({ length: PROCESSES }, slot))
  return COUNT / ((performance.now() - from) / 1000)
}

const settings = {
  processes: PROCESSES,
  module: new URL('./lib/noop-app.mjs', import.meta.url).href,
  sources: {},
  maxTasksPerChild: null,
  maxMemoryPerChild: null,
}
const ours = new ProcessPool(settings, console.error)
await ours.start()
const theirs = workerpool.pool(path('noop-workerpool.mjs'), { workerType: 'process', minWorkers: PROCESSES, maxWorkers: PROCESSES })
const tiny = new Tinypool({ runtime: 'child_process', filename: path('noop-tinypool.mjs'), minThreads: PROCESSES, maxThreads: PROCESSES })

const definition = { name: 'noop', options: { timeLimit: null, softTimeLimit: null } }
const job = { definition, delivery, update: async () => {}, stop: new AbortController().signal }

/** A pool that fails quickly is not a quick one. */
const succeeded = (outcome) => {
  if (outcome.kind !== 'succeeded') throw new Error(`a task ended ${outcome.kind}: ${JSON.stringify(outcome)}`)
}

const others = [
  ['workerpool running the same app', async () => succeeded(await theirs.exec('execute', [delivery])), 0.9],
  ['tinypool running the same app', async () => succeeded(await tiny.run(delivery, { name: 'execute' })), 0.9],
  ['workerpool running nothing at all', () => theirs.exec('nothing', [delivery]), null],
  ['tinypool running nothing at all', () => tiny.run(delivery, { name: 'nothing' }), null],
]
const lines = []
for (const [name, run, target] of others) {
  const measured = await pairs(
    ROUNDS,
    () => rate(async () => succeeded(await ours.run(job))),
    () => rate(run),
  )
  lines.push(atLeast(`a no-op in one of ${PROCESSES} processes (raw: ${name})`, '/s', measured, target))
}
report(lines)
await ours.close()
await theirs.terminate()
await tiny.destroy()
