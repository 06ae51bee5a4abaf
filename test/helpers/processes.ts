import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { ROOT } from './run.js'
import { until } from './until.js'

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** A program that runs in a process of its own. */
export class Running {
  /** What it has printed so far. */
  readonly stdout: string[] = []
  /** What it has logged so far. */
  readonly stderr: string[] = []
  private exit: Exit | null = null

  constructor(
    private readonly name: string,
    private readonly child: ChildProcess,
  ) {
    child.once('close', (code, signal) => {
      this.exit = { code, signal }
    })
    if (child.stdout) createInterface(child.stdout).on('line', (line) => this.stdout.push(line))
    if (child.stderr) createInterface(child.stderr).on('line', (line) => this.stderr.push(line))
  }

  /** Waits until it has said `text` in `count` lines, wherever in them. */
  async said(text: string, count = 1): Promise<void> {
    await this.until(() => {
      const lines = [...this.stdout, ...this.stderr].filter((line) => line.includes(text))
      if (lines.length < count && this.exit) throw new Error(`${this.name} ended before it said '${text}': ${this.stderr.join('\n')}`)
      return lines.length >= count
    }, `say '${text}' ${count} times`)
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal)
  }

  /** Ends it as a power cut would. */
  async kill(): Promise<Exit> {
    this.signal('SIGKILL')
    return this.end()
  }

  /** How it ended. */
  end(): Promise<Exit> {
    return this.until(() => this.exit, 'end')
  }

  private until<T>(answer: () => T, what: string) {
    return until(answer, `${this.name} to ${what}`).catch((error: Error) => {
      throw new Error(`${error.message}; it said: ${[...this.stdout, ...this.stderr].join('\n')}`)
    })
  }
}

type Environment = Readonly<Record<string, string>>

/** The processes of one test: `await using` kills those that are left when it ends, however it ends. */
export class Processes implements AsyncDisposable {
  private readonly all: Running[] = []
  private readonly killAll = () => {
    for (const running of this.all) running.signal('SIGKILL')
  }

  constructor() {
    process.once('exit', this.killAll) // a test that hangs never comes to its end
  }

  /** @param env added to this process's environment */
  command(args: readonly string[], env: Environment = {}): Running {
    return this.start(args[0] ?? '', ['bin/run.js', ...args], env)
  }

  /** @param fixture a file of test/fixtures; one in TypeScript may import the sources */
  fixture(fixture: string, args: readonly string[] = [], env: Environment = {}): Running {
    const loader = fixture.endsWith('.ts') ? ['--import', 'tsx'] : []
    return this.start(fixture, [...loader, `test/fixtures/${fixture}`, ...args], env)
  }

  /** @param file a program that Node can run as it is */
  program(file: string, args: readonly string[]): Running {
    return this.start(file, [file, ...args], {})
  }

  private start(name: string, args: readonly string[], env: Environment): Running {
    const child = spawn(process.execPath, args, {
      cwd: ROOT,
      env: { ...process.env, NODE_OPTIONS: '', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const running = new Running(name, child)
    this.all.push(running)
    return running
  }

  async [Symbol.asyncDispose](): Promise<void> {
    process.off('exit', this.killAll)
    await Promise.all(this.all.map((running) => running.kill()))
  }
}
