import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const bin = fileURLToPath(new URL('../../bin/', import.meta.url))

/** Runs programs as a person in `cwd` would, and shows what they print. */
export class Terminal {
  constructor(cwd) {
    this.cwd = cwd
  }

  /** Types `program args…`, shows the answer (at most `lines` lines of it) and returns it. */
  type(program, args, { lines = 6 } = {}) {
    console.log(`\n$ ${[program, ...args].join(' ')}`)
    const file = program === 'taskledger' ? 'run.js' : `${program}.js`
    const { stdout, stderr, status } = spawnSync(process.execPath, [join(bin, file), ...args], { cwd: this.cwd, encoding: 'utf8' })
    const printed = `${stdout}${stderr}`.trimEnd().split('\n')
    console.log(printed.slice(0, lines).join('\n'))
    if (printed.length > lines) console.log(`… ${printed.length - lines} more lines`)
    if (status !== 0) throw new Error(`${program} ended with exit code ${status}`)
    return stdout
  }

  /** Starts a worker in a process of its own; `onLine` sees its log. */
  startWorker(args, onLine = () => {}) {
    const child = spawn(process.execPath, [join(bin, 'run.js'), 'worker', ...args], { cwd: this.cwd, stdio: ['ignore', 'ignore', 'pipe'] })
    createInterface({ input: child.stderr }).on('line', onLine)
    return child
  }
}

/** Stops a worker with a signal and waits until it is gone. */
export async function end(child, signal) {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill(signal)
  await gone
}
