// Every benchmark, each in a process of its own and one at a time; one table. Exits 1 when a target is missed.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { report } from './lib/pairs.mjs'

const SCRIPTS = ['publish', 'execute', 'stale', 'export', 'start-up', 'pools', 'chord']

const lines = SCRIPTS.flatMap((script) => {
  process.stderr.write(`${script} …\n`)
  const path = fileURLToPath(new URL(`${script}.mjs`, import.meta.url))
  const { stdout } = spawnSync(process.execPath, [path, '--json'], { stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8' })
  if (stdout.trim() === '') throw new Error(`${script} measured nothing`)
  return JSON.parse(stdout)
})
report(lines)
