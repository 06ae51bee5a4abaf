// A task that does nothing, from its claim to its result, beside the driver taking rows through the same life.
import { createApp } from '../dist/index.js'
import { migratedFile, withFolder } from './lib/ledger.mjs'
import { atLeast, pairs, report } from './lib/pairs.mjs'
import { RawLedger } from './lib/raw.mjs'

const ROUNDS = 7
const COUNT = 10_000

/** A ledger in which `COUNT` tasks wait. */
async function waiting(folder, name) {
  const file = await migratedFile(folder, name)
  const ledger = new RawLedger(file)
  ledger.commit(() => {
    for (let i = 0; i < COUNT; i++) ledger.publish()
  })
  ledger.close()
  return file
}

async function ours(file, concurrency) {
  const app = createApp({ database: `sqlite:${file}`, concurrency })
  app.task('noop', (..._args) => true)
  await app.tasks.count() // opens the ledger
  const worker = app.worker()
  let left = COUNT
  const allDone = new Promise((resolve) => {
    app.on('succeeded', () => --left === 0 && resolve())
  })
  const from = performance.now()
  const running = worker.run()
  await allDone
  const seconds = (performance.now() - from) / 1000
  worker.stop()
  await running
  await app.close()
  return COUNT / seconds
}

function raw(file, batch) {
  const ledger = new RawLedger(file)
  const from = performance.now()
  while (ledger.execute(batch) > 0);
  const seconds = (performance.now() - from) / 1000
  ledger.close()
  return COUNT / seconds
}

const measure = (concurrency) =>
  withFolder((folder) =>
    pairs(
      ROUNDS,
      async (round) => ours(await waiting(folder, `ours-${round}.db`), concurrency),
      async (round) => raw(await waiting(folder, `raw-${round}.db`), concurrency),
    ),
  )

report([
  atLeast('execute, concurrency 10 (raw: batches of 10)', '/s', await measure(10), null),
  atLeast('execute, concurrency 100 (raw: batches of 100)', '/s', await measure(100), 0.4),
])
