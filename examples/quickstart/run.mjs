// Audits the packages installed in this project, loses some of the work on purpose, and gets it back.
import { cpSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { say, secondsLeft, secondsPassed, until } from '../lib/story.mjs'
import { end, Terminal } from '../lib/terminal.mjs'
import { packagesIn } from './packages.mjs'

const LEASE_SECONDS = 2
const SCHEDULED = 10

const home = mkdtempSync(join(tmpdir(), 'taskledger-quickstart-'))
const terminal = new Terminal(home)
const tasksModule = fileURLToPath(new URL('tasks.mjs', import.meta.url))
const settings = { database: 'sqlite:audit.db', app: tasksModule, lease: LEASE_SECONDS }
writeFileSync(join(home, 'taskledger.config.json'), JSON.stringify(settings, null, 2))
process.chdir(home)
terminal.type('taskledger', ['migrate'])

const { app, audit, survey } = await import('./tasks.mjs')
const workers = []
try {
  await main()
} finally {
  await Promise.all(workers.map((worker) => end(worker, 'SIGKILL')))
  await app.close()
}

async function main() {
  const folders = packagesIn(fileURLToPath(new URL('../../node_modules', import.meta.url)))
  const broken = breakCopyOf(folders[0])
  const packages = [...folders, broken.folder]
  const now = [...folders.slice(0, -SCHEDULED), broken.folder]
  const later = folders.slice(-SCHEDULED)

  say(`Publishing one task for each of ${packages.length} packages, ${later.length} of them with an eta.`)
  await Promise.all(now.map((folder) => audit.delay(folder)))
  await Promise.all(later.map((folder) => audit.applyAsync([folder], { countdown: 3 })))

  say('Starting two workers, and killing one of them with SIGKILL in the middle of its tasks.')
  await killOneWorker()
  await until('the other worker has done the rest', async () => (await app.tasks.count({ statuses: ['PENDING'] }, 1)) === 0)
  await until('the lease of the killed worker has run out', async () => (await lost()).length > 0 && (await running()) === 0)

  say('What the killed worker had is lost: nobody else has it, and the ledger knows.')
  const count = (await lost()).length
  terminal.type('find-stale-tasks', ['--reason', 'lost'])
  terminal.type('taskledger', ['retry', '--from-stale', '--reason', 'lost', '--yes'])

  say('One task failed: its package has a manifest that is not JSON. It is mended, and the task sent again.')
  await until('the task has failed', async () => (await app.tasks.count({ statuses: ['FAILURE'] }, 1)) === 1)
  terminal.type('taskledger', ['list', '--status', 'FAILURE'])
  broken.mend()
  terminal.type('taskledger', ['retry', '--error-type', 'SyntaxError', '--yes'])

  say('The tasks with an eta are due, and nobody sent them: these workers run with --no-sender.')
  await until('they are due', async () => (await app.tasks.findStaleScheduled()).length === SCHEDULED)
  terminal.type('find-stale-scheduled', [])
  terminal.type('send-scheduled', [])
  await until('every task has ended', async () => (await app.tasks.findStale()).length === 0)
  terminal.type('find-stale-tasks', [])

  say('A workflow: each package is read, measured and classified, one step after the other, and a report is made of all of them.')
  const result = await survey(packages, join(home, 'report.json')).applyAsync()
  const sizes = await result.get({ timeout: secondsLeft() })
  terminal.type('taskledger', ['list', '--task', 'report'])
  checkReport(packages, sizes)

  say('Exporting the ledger.')
  terminal.type('taskledger', ['export', '--output', 'audit.csv'])
  terminal.type('taskledger', ['export', '--output', 'audit.ndjson'])
  checkExport(packages, count)
}

function lost() {
  return app.tasks.findStale({ reasons: ['lost'] })
}

async function running() {
  return (await app.tasks.findStale({ reasons: ['unclaimed', 'stuck'] })).length
}

/** A copy of a package whose manifest cannot be read. */
function breakCopyOf(original) {
  const folder = join(home, 'broken-package')
  cpSync(original, folder, { recursive: true })
  const manifest = join(folder, 'package.json')
  const text = readFileSync(manifest, 'utf8')
  writeFileSync(manifest, text.slice(1))
  return { folder, mend: () => writeFileSync(manifest, text) }
}

async function killOneWorker() {
  let begun = 0
  let ended = 0
  const victim = terminal.startWorker(['--no-sender', '--concurrency', '15'], (line) => {
    if (line.endsWith('started')) begun += 1
    if (line.includes('succeeded')) ended += 1
  })
  workers.push(victim)
  await until('the first worker is in the middle of its tasks', () => ended >= 10 && begun - ended >= 5)
  await end(victim, 'SIGKILL')
  workers.push(terminal.startWorker(['--no-sender', '--concurrency', '15']))
}

/** Every package is in the report once, and the sizes are of as many. */
function checkReport(packages, sizes) {
  const reported = JSON.parse(readFileSync(join(home, 'report.json'), 'utf8')).packages
  const counted = Object.values(sizes).reduce((sum, count) => sum + count, 0)
  if (reported.length !== packages.length || counted !== packages.length) {
    throw new Error(`${packages.length} packages, but the report has ${reported.length}`)
  }
  const counts = Object.entries(sizes).map(([size, count]) => `${count} ${size}`)
  console.log(`  ${counts.join(', ')}`)
}

/** Every package was audited exactly once successfully, by what the exported file says. */
function checkExport(packages, lostCount) {
  const rows = readFileSync(join(home, 'audit.ndjson'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
    .filter((row) => row.task === 'audit')
  const audited = rows.filter((row) => row.status === 'SUCCESS').map((row) => row.args[0])
  const wrong = packages.filter((folder) => audited.filter((one) => one === folder).length !== 1)
  if (wrong.length > 0) throw new Error(`not audited exactly once: ${wrong.join(', ')}`)
  if (lostCount === 0) throw new Error('no task was lost, so nothing was shown')

  const results = rows.filter((row) => row.status === 'SUCCESS').map((row) => row.result)
  const licences = new Set(results.map((result) => JSON.stringify(result.licence)))
  const bytes = results.reduce((sum, result) => sum + result.bytes, 0)
  say(`${packages.length} packages, each audited exactly once successfully; ${lostCount} tasks were lost on the way and found again.`)
  console.log(
    `  ${licences.size} licences, ${results.reduce((sum, result) => sum + result.files, 0)} files, ${(bytes / 1e6).toFixed(1)} MB`,
  )
  console.log(`  The ledger lies at ${join(home, 'audit.db')}`)
  console.log(`  ${secondsPassed().toFixed(1)} s`)
}
