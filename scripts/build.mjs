// Makes dist/ complete after tsc. The command line becomes one file, because reading five hundred small ones is most of
// what a short command would take.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { bundle } from './bundle.mjs'
import { describeCommands } from './manifest.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const dist = join(root, 'dist')

removeLeftovers()
const { name, version, description, oclif } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const pjson = { name, version, description, oclif }
const { commands } = await import(pathToFileURL(join(dist, 'commands', 'index.js')))
const manifest = await describeCommands(root, structuredClone(pjson), commands)
replaceFile(join(dist, 'cli.cjs'), await bundle(program({ pjson, manifest }), dist))
warmUp()

/** tsc leaves what it once made of a source that is gone, and the code cache belongs to the bundle of before. */
function removeLeftovers() {
  for (const entry of readdirSync(dist, { recursive: true })) {
    const source = join(root, 'src', entry.replace(/\.(d\.ts|js)$/, '.ts'))
    const orphaned = /\.(d\.ts|js)$/.test(entry) && !existsSync(source)
    if (orphaned || entry.includes('.cache')) rmSync(join(dist, entry))
  }
}

/** What bin/ runs: the facts about the commands are in it, the commands themselves are evaluated when they run. */
function program(facts) {
  return `
    import { commands } from './commands/index.js'
    import { runProgram } from './lib/cli/program.js'
    const facts = JSON.parse(${JSON.stringify(JSON.stringify(facts))})
    export const run = (argv, root, env) => runProgram(argv, { ...facts, root, commands }, env)
  `
}

/** In one step, so that a command which starts meanwhile reads the old file or the new one. */
function replaceFile(path, text) {
  writeFileSync(`${path}.new`, text)
  renameSync(`${path}.new`, path)
}

/** Lets the loader in bin/ make its code cache now, so that a user's first run is as quick as his second. */
function warmUp() {
  const folder = mkdtempSync(join(tmpdir(), 'taskledger-build-'))
  for (const argv of [['--help'], ['migrate'], ['find-stale-tasks'], ['list']]) {
    spawnSync(process.execPath, [join(root, 'bin', 'run.js'), ...argv], { cwd: folder, stdio: 'ignore' })
  }
  rmSync(folder, { recursive: true })
}
