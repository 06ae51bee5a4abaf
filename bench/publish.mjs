// A tracked publish (row and message in one durable commit) beside the driver doing the same two inserts.
import { createApp } from '../dist/index.js'
import { migratedFile, withFolder } from './lib/ledger.mjs'
import { atLeast, pairs, report } from './lib/pairs.mjs'
import { ARGS, RawLedger } from './lib/raw.mjs'

const ROUNDS = 7

/** Publishes a second, by `inFlight` callers of which each waits for its own. */
async function ours(file, count, inFlight) {
  const app = createApp({ database: `sqlite:${file}` })
  const noop = app.task('noop', (..._args) => true)
  await noop.delay(...ARGS) // opens the ledger
  const from = performance.now()
  let left = count
  const caller = async () => {
    while (left-- > 0) await noop.delay(...ARGS)
  }
  await Promise.all(Array.from({ length: inFlight }, caller))
  const seconds = (performance.now() - from) / 1000
  await app.close()
  return count / seconds
}

/** The same in commits of `batch`. */
function raw(file, count, batch) {
  const ledger = new RawLedger(file)
  const from = performance.now()
  for (let done = 0; done < count; done += batch) {
    ledger.commit(() => {
      for (let i = 0; i < batch; i++) ledger.publish()
    })
  }
  const seconds = (performance.now() - from) / 1000
  ledger.close()
  return count / seconds
}

const measure = (count, inFlight) =>
  withFolder((folder) =>
    pairs(
      ROUNDS,
      async (round) => ours(await migratedFile(folder, `ours-${round}.db`), count, inFlight),
      async (round) => raw(await migratedFile(folder, `raw-${round}.db`), count, inFlight),
    ),
  )

report([
  atLeast('publish, 1 in flight (raw: a commit each)', '/s', await measure(5_000, 1), null),
  atLeast('publish, 100 in flight (raw: commits of 100)', '/s', await measure(30_000, 100), 0.5),
])
