import { type ChildProcess, spawn } from 'node:child_process'
import { Running } from './processes.js'
import { ROOT, runProgram } from './run.js'
import { PYTHON } from './services.js'
import { until } from './until.js'

const FOLDER = `${ROOT}test/fixtures/celery`

/** [task, args, options of send_task]; `revoke` and `terminate` take the id of a task. */
export type Published = readonly [task: string, args: readonly unknown[], options?: Readonly<Record<string, unknown>>]

/** A Celery site of its own queue, as test/fixtures/celery has it. */
export class CelerySite implements AsyncDisposable {
  private readonly workers: ChildProcess[] = []
  private readonly env: NodeJS.ProcessEnv
  private readonly killAll = () => {
    for (const worker of this.workers) killGroup(worker)
  }

  /** @param sent whether whoever publishes sends events, too */
  constructor(
    broker: string,
    readonly queue: string,
    sent = true,
  ) {
    this.env = { ...process.env, BROKER: broker, QUEUE: queue, SENT: sent ? 'yes' : 'no', PYTHONDONTWRITEBYTECODE: '1' }
    process.once('exit', this.killAll)
  }

  /** Starts a worker of two processes, and waits until it takes messages. */
  async worker(name: string, ...options: readonly string[]): Promise<{ kill(): void; stop(): void }> {
    const quiet = ['--without-gossip', '--without-mingle', '--heartbeat-interval', '1']
    const args = ['-m', 'celery', '-A', 'tasks', 'worker', '-n', `${name}@test`, '-c', '2', '-l', 'INFO', ...quiet, ...options]
    const child = spawn(PYTHON, args, { cwd: FOLDER, env: this.env, stdio: ['ignore', 'pipe', 'pipe'], detached: true })
    this.workers.push(child)
    await new Running(name, child).said('ready.')
    return { kill: () => killGroup(child), stop: () => void child.kill('SIGTERM') }
  }

  /** Publishes with Celery's own client, and returns the ids. */
  async publish(...calls: readonly Published[]): Promise<string[]> {
    const input = JSON.stringify(calls.map(([task, args, options = {}]) => [task.includes('.') ? task : inModule(task), args, options]))
    const { stdout, stderr } = await runProgram(PYTHON, ['publish.py'], { cwd: FOLDER, env: this.env, input })
    return JSON.parse(stdout || `"${stderr}"`) as string[]
  }

  async [Symbol.asyncDispose](): Promise<void> {
    process.off('exit', this.killAll)
    this.killAll()
    await Promise.all(this.workers.map((worker) => until(() => worker.exitCode !== null || worker.signalCode !== null, 'a worker to end')))
  }
}

const inModule = (task: string): string => (task === 'revoke' || task === 'terminate' ? task : `tasks.${task}`)

/** Ends a worker and the processes of its pool, as a power cut would. */
function killGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL')
  } catch {
    // it has ended
  }
}
