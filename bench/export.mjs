// `taskledger export` beside the sqlite3 shell's own, both from start to exit and with the text thrown away.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fillFinished, migratedFile, openRaw, withFolder } from './lib/ledger.mjs'
import { atLeast, pairs, report } from './lib/pairs.mjs'
import { timed } from './lib/spawn.mjs'

const ROWS = 1_000_000
/** Fewer, because CSV has no target and takes longer. */
const CSV_ROWS = 200_000
const ROUNDS = 5
const MAX_GROWTH_MB = 60

const here = fileURLToPath(new URL('.', import.meta.url))
const exporting = (file, format) => [join(here, '..', 'bin', 'run.js'), 'export', '--format', format, '--database', `sqlite:${file}`]

const measure = (file, rows, format, shellMode) =>
  pairs(
    ROUNDS,
    async () => (rows / timed(process.execPath, exporting(file, format))) * 1000,
    async () => (rows / timed('sqlite3', [shellMode, '-header', file, 'SELECT * FROM task_result'])) * 1000,
  )

function peakMb(file, format) {
  const preload = ['--import', join(here, 'lib', 'tell-memory.mjs')]
  const { stderr } = spawnSync(process.execPath, [...preload, ...exporting(file, format)], {
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
  })
  return Number(stderr.split('\n').at(-1)) / 1e6
}

/** What many rows take more than none. */
function memory(full, empty, format, target) {
  const ours = peakMb(full, format)
  const raw = peakMb(empty, format)
  const name = `export ${format}, memory at its highest (raw: an empty ledger)`
  return { name, unit: 'MB', ours, raw, ratio: null, target: target ? `+ ${target} MB` : '', ok: !target || ours - raw <= target }
}

async function ledgerOf(rows, folder) {
  const file = await migratedFile(folder, `${rows}.db`)
  const db = openRaw(file)
  fillFinished(db, rows)
  db.close()
  return file
}

await withFolder(async (folder) => {
  const empty = await ledgerOf(0, folder)
  const file = await ledgerOf(ROWS, folder)
  const csvFile = await ledgerOf(CSV_ROWS, folder)
  report([
    atLeast('export ndjson, a million rows (raw: sqlite3 -json)', '/s', await measure(file, ROWS, 'ndjson', '-json'), 0.7),
    atLeast('export csv, 200,000 rows (raw: sqlite3 -csv)', '/s', await measure(csvFile, CSV_ROWS, 'csv', '-csv'), null),
    memory(file, empty, 'ndjson', MAX_GROWTH_MB),
    memory(csvFile, empty, 'csv', null),
  ])
})
