import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { ROOT } from './run.js'
import { until } from './until.js'

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** A fixture that runs in a process of its own. */
export class Running {
  /** What it has printed so far. */
  readonly lines: string[] = []
  /** What it has complained of so far. */
  stderr = ''
  readonly exited: Promise<Exit>
  private ended = false

  constructor(
    private readonly name: string,
    private readonly child: ChildProcess,
  ) {
    this.exited = new Promise((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code, signal) => {
        this.ended = true
        resolve({ code, signal })
      })
    })
    if (child.stdout) createInterface(child.stdout).on('line', (line) => this.lines.push(line))
    child.stderr?.on('data', (chunk: Buffer) => {
      this.stderr += chunk.toString()
    })
  }

  /** The first `count` lines that begin with `start`, once they are there. */
  async printed(start: string, count = 1): Promise<string[]> {
    const found = () => this.lines.filter((line) => line.startsWith(start))
    await until(
      () => {
        if (found().length >= count) return true
        if (this.ended)
          throw new Error(`${this.name} ended before it printed '${start}' ${count} times: ${this.lines.join(' | ')} ${this.stderr}`)
        return false
      },
      `${this.name} to print '${start}' ${count} times (it printed ${this.lines.join(' | ')}) ${this.stderr}`,
    )
    return found().slice(0, count)
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal)
  }

  /** Ends it as a power cut would. */
  async kill(): Promise<Exit> {
    this.signal('SIGKILL')
    return this.exited
  }

  /** How it ended by itself; an error if it has not done so within the bound. */
  async end(): Promise<Exit> {
    await until(() => this.ended, `${this.name} to end (it printed ${this.lines.join(' | ')}) ${this.stderr}`)
    return this.exited
  }
}

/** The processes of one test: `await using` kills those that are left when it ends, however it ends. */
export class Processes implements AsyncDisposable {
  private readonly all: Running[] = []

  /**
   * @param fixture a file of test/fixtures; one in TypeScript may import the sources
   * @param env added to this process's environment
   */
  start(fixture: string, args: readonly string[] = [], env: Readonly<Record<string, string>> = {}): Running {
    const loader = fixture.endsWith('.ts') ? ['--import', 'tsx'] : []
    const child = spawn(process.execPath, [...loader, `${ROOT}test/fixtures/${fixture}`, ...args], {
      cwd: ROOT,
      env: { ...process.env, NODE_OPTIONS: '', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const running = new Running(fixture, child)
    this.all.push(running)
    return running
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.all.map((running) => running.kill()))
  }
}
