import { type ChildProcess, type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { App } from '../../src/lib/app/app.js'
import { findTask } from '../../src/lib/ledger/find.js'
import type { TaskRow } from '../../src/lib/ledger/row.js'
import type { Json, JsonObject } from '../../src/lib/task/json.js'
import { Running } from './processes.js'
import { ROOT } from './run.js'
import { PYTHON } from './services.js'
import { linesIn } from './side-effects.js'
import { until } from './until.js'
import { openVhost } from './vhost.js'
import { openWorld, type World } from './world.js'

/** A task that ran in Celery, as test/fixtures/celery/shared.py writes it down. */
export interface Run {
  readonly task: string
  readonly id: string
  readonly args: readonly Json[]
  readonly kwargs: JsonObject
  readonly queue: string
  readonly priority: number | null
  readonly retries: number
  readonly root: string
  readonly parent: string | null
  readonly group: string | null
  readonly timelimit: Json
  readonly eta: string | null
  readonly expires: string | null
  readonly ignore_result: boolean
  readonly tenant: Json
  /** Its result, unless it has raised. */
  readonly result?: Json
  readonly raised?: string
}

/** A Celery site and a Node program at a RabbitMQ of their own; see test/fixtures/celery/shared.py for the site's tasks and queues. */
export interface SharedSite extends World {
  /** Has Celery's own client evaluate a line of Python that sends something; returns the ids of that. */
  python(line: string): Promise<string[]>
  /** The same for any line; returns its value. What it raises is thrown, as Python shows it. */
  value(line: string): Promise<Json>
  /** What has run in Celery so far. */
  runs(): Run[]
  /** Waits until `count` tasks of this root or id have run in Celery, and returns them. */
  ran(id: string, count?: number): Promise<Run[]>
  /** Waits until the task has a row that has ended. */
  ended(taskId: string): Promise<TaskRow>
  row(taskId: string): Promise<TaskRow | null>
  /** What the ledger says of these tasks. */
  statuses(...taskIds: readonly (string | undefined)[]): Promise<string[]>
}

export interface SiteParts {
  readonly worker?: boolean
  /** Whether the worker tells what becomes of its tasks. */
  readonly events?: boolean
  readonly client?: boolean
  /** Where both keep results. */
  readonly results?: string
}

/** `await using`, or disposing, ends its processes and removes the vhost. */
export async function openSharedSite({ worker = false, events = false, client = false, results }: SiteParts): Promise<SharedSite> {
  const vhost = await openVhost()
  const broker = vhost.url
  const routes = { 'py.*': 'python', 'node.*': 'node' }
  const world = await openWorld({
    now: Date.now,
    settings: { broker, defaultQueue: 'node', routes, lease: 1, ...(results && { celeryResults: results }) },
  })
  const journal = join(world.folder, 'journal')
  const python = new Python({ BROKER: broker, JOURNAL: journal, ...(results && { RESULTS: results }) })
  const runs = (): Run[] => linesIn(journal).map((line) => JSON.parse(line))
  const row = (taskId: string) => findTask(world.database, taskId)
  if (client) python.client()
  if (worker) await python.worker(events)
  return {
    ...world,
    runs,
    row,
    statuses: (...taskIds) => Promise.all(taskIds.map(async (id) => (await row(id ?? ''))?.status ?? 'no row')),
    value: (line) => python.ask(line),
    python: async (line) => (await python.ask(line)) as string[],
    ran: (id, count = 1) =>
      until(() => {
        const found = runs().filter((run) => run.id === id || run.root === id)
        return found.length >= count && found
      }, `${count} tasks of ${id} to run in Celery`),
    ended: (taskId) =>
      until(async () => {
        const found = await row(taskId)
        return found?.finishedAt ? found : null
      }, `${taskId} to end`),
    async [Symbol.asyncDispose]() {
      await python[Symbol.asyncDispose]()
      await world[Symbol.asyncDispose]()
      await vhost[Symbol.asyncDispose]()
    },
  }
}

/** The Node program's tasks for numbers, and an errback. Returns what that was called with, each time. */
export function declareNodeTasks(app: App): unknown[][] {
  const errbacks: unknown[][] = []
  app.task({ name: 'node.add', params: ['x', 'y'] }, (x: number, y: number) => x + y)
  app.task('node.tsum', (numbers: number[]) => numbers.reduce((sum, n) => sum + n, 0))
  app.task('node.on_error', (...args: unknown[]) => {
    errbacks.push(args)
  })
  return errbacks
}

/** The processes of the site. */
class Python implements AsyncDisposable {
  private readonly all: ChildProcess[] = []
  private asking: ChildProcessWithoutNullStreams | null = null
  private readonly answers: ((answer: string) => void)[] = []
  private readonly killAll = () => {
    for (const child of this.all) child.kill('SIGKILL')
  }

  constructor(private readonly env: Readonly<Record<string, string>>) {
    process.once('exit', this.killAll) // a test that hangs never comes to its end
  }

  async worker(events: boolean): Promise<void> {
    const told = events ? ['-E', '--heartbeat-interval', '1'] : ['--without-heartbeat'] // an idle one sends events with its heartbeats
    const quiet = ['--without-gossip', '--without-mingle', ...told]
    const child = this.start('-m', 'celery', '-A', 'shared', 'worker', '-P', 'solo', '-l', 'INFO', '-n', 'shared@test', ...quiet)
    await new Running('the Celery worker', child).said('ready.')
  }

  client(): void {
    const child = this.start('shared.py')
    createInterface({ input: child.stdout }).on('line', (line) => this.answers.shift()?.(line))
    child.stderr.pipe(process.stderr)
    child.once('exit', () => {
      for (const answer of this.answers) answer('{"raised":"the client has ended"}')
    })
    this.asking = child
  }

  async ask(line: string): Promise<Json> {
    const answered = new Promise<string>((resolve) => this.answers.push(resolve))
    this.asking?.stdin.write(`${line}\n`)
    const { value = null, raised } = JSON.parse(await answered) as { readonly value?: Json; readonly raised?: string }
    if (raised !== undefined) throw new Error(`${line}: ${raised}`)
    return value
  }

  async [Symbol.asyncDispose](): Promise<void> {
    process.off('exit', this.killAll)
    this.killAll()
    await until(() => this.all.every(({ exitCode, signalCode }) => exitCode !== null || signalCode !== null), 'Python to end')
  }

  private start(...args: readonly string[]): ChildProcessWithoutNullStreams {
    const child = spawn(PYTHON, args, {
      cwd: `${ROOT}test/fixtures/celery`,
      env: { ...process.env, ...this.env, PYTHONDONTWRITEBYTECODE: '1' },
    })
    this.all.push(child)
    return child
  }
}
