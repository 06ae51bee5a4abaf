// A short command, from start to exit, beside Node doing nothing.
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fillFinished, migratedFile, openRaw, withFolder } from './lib/ledger.mjs'
import { pairs, report } from './lib/pairs.mjs'
import { timed } from './lib/spawn.mjs'

const ROUNDS = 21
const AT_MOST = 2.8

const run = join(fileURLToPath(new URL('.', import.meta.url)), '..', 'bin', 'run.js')

await withFolder(async (folder) => {
  const file = await migratedFile(folder, 'ledger.db')
  const db = openRaw(file)
  fillFinished(db, 1000)
  db.close()
  const options = { cwd: folder }
  const measured = await pairs(
    ROUNDS,
    async () => timed(process.execPath, [run, 'find-stale-tasks', '--database', `sqlite:${file}`], options),
    async () => timed(process.execPath, ['-e', '0'], options),
  )
  const name = 'find-stale-tasks, start to exit (raw: node -e 0)'
  report([{ name, unit: 'ms', ...measured, target: `<= ${AT_MOST}`, ok: measured.ratio <= AT_MOST }])
})
