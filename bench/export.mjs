// `taskledger export` of a million rows beside the sqlite3 shell's own, both from start to exit and with the text thrown away.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fillFinished, migratedFile, openRaw, withFolder } from './lib/ledger.mjs'
import { atLeast, median, pairs, report } from './lib/pairs.mjs'
import { timed } from './lib/spawn.mjs'

const ROWS = 1_000_000
const ROUNDS = 5
const MAX_GROWTH_MB = 60

const here = fileURLToPath(new URL('.', import.meta.url))
const exporting = (file, format) => [join(here, '..', 'bin', 'run.js'), 'export', '--format', format, '--database', `sqlite:${file}`]

const rate = (ms) => (ROWS / ms) * 1000

const measure = (file, format, shellMode) =>
  pairs(
    ROUNDS,
    async () => rate(timed(process.execPath, exporting(file, format))),
    async () => rate(timed('sqlite3', [shellMode, '-header', file, 'SELECT * FROM task_result'])),
  )

function peakMb(file, format) {
  const preload = ['--import', join(here, 'lib', 'tell-memory.mjs')]
  const peaks = Array.from({ length: 3 }, () => {
    const { stderr } = spawnSync(process.execPath, [...preload, ...exporting(file, format)], {
      stdio: ['ignore', 'ignore', 'pipe'],
      encoding: 'utf8',
    })
    return Number(stderr.split('\n').at(-1)) / 1e6
  })
  return median(peaks)
}

/** What a million rows take more than none. */
function memory(full, empty, format, target) {
  const ours = peakMb(full, format)
  const raw = peakMb(empty, format)
  const name = `export ${format}, memory at its highest (raw: an empty ledger)`
  return { name, unit: 'MB', ours, raw, ratio: null, target: target ? `+ ${target} MB` : '', ok: !target || ours - raw <= target }
}

await withFolder(async (folder) => {
  const empty = await migratedFile(folder, 'empty.db')
  const file = await migratedFile(folder, 'ledger.db')
  const db = openRaw(file)
  fillFinished(db, ROWS)
  db.close()
  report([
    atLeast('export ndjson, a million rows (raw: sqlite3 -json)', '/s', await measure(file, 'ndjson', '-json'), 0.7),
    atLeast('export csv, a million rows (raw: sqlite3 -csv)', '/s', await measure(file, 'csv', '-csv'), null),
    memory(file, empty, 'ndjson', MAX_GROWTH_MB),
    memory(file, empty, 'csv', null),
  ])
})
