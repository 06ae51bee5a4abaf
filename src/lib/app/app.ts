import type { Knex } from 'knex'
import type { Delivery } from '../broker/broker.js'
import { fromCelery } from '../canvas/celery-form.js'
import { signature } from '../canvas/signature.js'
import { Database } from '../database/database.js'
import { type MigrationStep, migrateTo } from '../database/migrate.js'
import { groupOf, membersOf } from '../ledger/groups.js'
import { messageFor } from '../publish/request.js'
import { runningTask, type TaskContext, type TaskUpdate } from '../task/definition.js'
import { PlainError } from '../task/errors.js'
import { type Failpoint, NO_FAILPOINT } from '../task/failpoint.js'
import type { Json } from '../task/json.js'
import type { Outcome } from '../task/outcome.js'
import type { Composed } from '../task/signature.js'
import type { WatchEvent, Watcher } from '../watch/watcher.js'
import { runTask, type Surroundings } from '../worker/run-task.js'
import { DeclaredTasks } from './declared.js'
import { withDefaults } from './defaults.js'
import { GroupResult } from './group-result.js'
import { Handle, type Send } from './handle.js'
import { Hooks, type HookTypes } from './hooks.js'
import { openParts, type Parts } from './parts.js'
import { AsyncResult } from './result.js'
import { sendCanvas } from './send.js'
import { readSettings, type SettingSources } from './setting-sources.js'
import { checkSettings, type Settings } from './settings.js'
import type { AnyResult, ApplyOptions, Signature } from './signature.js'
import { directContext, type TaskOptions } from './task.js'
import { signatures, type Task } from './task-handle.js'
import { Tasks } from './tasks.js'
import { type WatchOptions, watcherOf } from './watch-celery.js'
import { type RunningWorker, type WorkerOptions, Workers, workerOf } from './workers.js'

export type { RunningWorker, WorkerOptions } from './workers.js'

/** The one place where settings become parts, tasks are named, and a program finds everything else. */
export class App {
  /** What the commands do, as functions. */
  readonly tasks = new Tasks(() => this.parts())
  private readonly declared: DeclaredTasks
  private readonly hooks = new Hooks()
  private opened: Promise<Parts> | null = null
  /** The settings that `execute` goes by, read for the first task: a child runs many. */
  private executing: Promise<Settings> | null = null
  private readonly workers = new Workers()

  constructor(
    private sources: SettingSources,
    private readonly mode: 'read' | 'write' = 'write',
    private readonly now: () => number = Date.now,
    private readonly failpoint: Failpoint = NO_FAILPOINT,
  ) {
    this.declared = new DeclaredTasks(now)
  }

  /** Flags of a command come before anything this app was created with. Only before first use. */
  override(sources: SettingSources): void {
    if (this.opened) throw new PlainError('the app is open already; settings can only be given before its first use')
    this.sources = { ...this.sources, ...sources }
  }

  settings(): Promise<Settings> {
    return this.opened ? this.opened.then(({ settings }) => settings) : readSettings(this.sources)
  }

  /**
   * Names a function, so that it can be published and workers can run it.
   *
   * @throws {UsageError} for a second task of one name, or an option that does not exist
   */
  task<A extends unknown[], R>(name: string, run: (...args: A) => R): Task<A, R>
  task<A extends unknown[], R>(options: TaskOptions & { readonly bind: true }, run: (task: TaskContext, ...args: A) => R): Task<A, R>
  task<A extends unknown[], R>(options: TaskOptions & { readonly bind?: false }, run: (...args: A) => R): Task<A, R>
  task<A extends unknown[], R>(nameOrOptions: string | TaskOptions, run: (...args: never[]) => R): Task<A, R> {
    const options = typeof nameOrOptions === 'string' ? { name: nameOrOptions } : nameOrOptions
    const { name, bind } = this.declared.add(options, run)
    const body = run as (...args: unknown[]) => R
    const call = (...args: A): R => (bind ? body(directContext(name, args), ...args) : body(...args))
    const applyAsync = (args: readonly unknown[], how: ApplyOptions = {}) => this.publish<Awaited<R>>(name, args, how)
    const verbs = {
      taskName: name,
      delay: (...args: A) => applyAsync(args),
      applyAsync,
      ...signatures(name, options.errback ?? false, this.send),
    }
    return Object.assign(call, verbs) as unknown as Task<A, R>
  }

  /**
   * A signature of a task by its name, which may be registered in another program only; or one from Celery's form, as `toJSON`
   * writes it. What it needs and gives is not known to the compiler.
   *
   * @throws {UsageError} for what is neither
   */
  signature<R = unknown>(name: string): Signature<readonly unknown[], R>
  signature<R = unknown, Res extends AnyResult = AnyResult>(form: Json): Signature<readonly unknown[], R, Res>
  signature(form: unknown): unknown {
    return new Handle(typeof form === 'string' ? signature(form) : fromCelery(form), this.send)
  }

  /** Publishes a task by its name, which may be registered in another program only. */
  sendTask(name: string, args: readonly unknown[] = [], options: ApplyOptions = {}): Promise<AsyncResult> {
    return this.publish(name, args, options)
  }

  /** The handle on a task that was published before, perhaps by another program. */
  result<R = unknown>(taskId: string): AsyncResult<R> {
    return new AsyncResult<R>(taskId, () => this.parts())
  }

  /** The handle on a group that was sent before, perhaps by another program. Null: there is none of this id, or it has not begun. */
  async groupResult<Rs extends readonly unknown[] = readonly unknown[]>(groupId: string): Promise<GroupResult<Rs> | null> {
    const { database } = await this.parts()
    if ((await groupOf(database, groupId)) === null) return null
    const members = await membersOf(database, groupId)
    const open = () => this.parts()
    return new GroupResult<Rs>(
      groupId,
      members.map(({ taskId }) => new AsyncResult(taskId, open)),
      open,
    )
  }

  /** Adds a hook. A `beforePublish` that throws refuses the publish; what any other throws is told to the `error` hooks. */
  on<K extends keyof HookTypes>(hook: K, fn: HookTypes[K]): this {
    this.hooks.add(hook, fn)
    return this
  }

  worker(options: WorkerOptions = {}): RunningWorker {
    return this.workers.add(async () => {
      const parts = await this.parts()
      const { settings, sender } = parts
      const tasks = this.declared.known(settings)
      const worker = workerOf(parts, options, tasks, this.surroundings(settings), this.sources, this.hooks)
      return { worker, sender: options.sender === false ? null : sender }
    })
  }

  /**
   * Watches the Celery cluster whose broker this is: what its workers tell of their tasks is written down.
   *
   * @throws {UsageError} for a URL that is none of RabbitMQ's
   */
  async watchCelery(url: string, options: WatchOptions, emit: (event: WatchEvent) => void): Promise<Watcher> {
    return watcherOf(await this.parts(), url, options, emit, this.hooks.report)
  }

  /**
   * Makes the ledger's tables, or takes them forward or back.
   *
   * @param target a migration's name, or `zero`. Default: the newest.
   */
  async migrate(target?: string): Promise<MigrationStep[]> {
    const { database: url } = await this.settings()
    const database = await Database.open(url, 'create', this.sources.cwd)
    try {
      return await migrateTo(database, target)
    } finally {
      await database.close()
    }
  }

  /** knex on the ledger's database: for transactions of the caller's own that publishes are to be part of. */
  async knex(): Promise<Knex> {
    return (await this.database()).knex
  }

  async database(): Promise<Database> {
    return (await this.parts()).database
  }

  /** Stops its workers, waits for what is under way and lets go of everything; a program that calls it exits. */
  async close(): Promise<void> {
    await this.workers.stop()
    const opened = this.opened
    this.opened = null
    const parts = await opened?.catch(() => null) // what failed to open has nothing to close
    await parts?.celeryResults?.close()
    await parts?.broker.close()
    await parts?.database.close()
  }

  /**
   * Runs one task of this app here, for a child process of a pool: the settings of the app decide, and nothing but the
   * returned outcome is written.
   */
  async execute(delivery: Delivery, update: (update: TaskUpdate) => Promise<void>, stop: Surroundings['stop']): Promise<Outcome> {
    this.executing ??= this.settings()
    const settings = await this.executing
    const definition = this.declared.definition(delivery.message.task, settings)
    if (!definition) throw new PlainError(`a process of the pool does not know the task ${delivery.message.task}`)
    return runTask(definition, delivery, { ...this.surroundings(settings), update, stop })
  }

  /** What a body of this app runs with, wherever that is. */
  private surroundings(settings: Settings) {
    const canvasOf = ({ canvas }: Composed) => withDefaults(canvas, this.declared.defaults(settings), settings)
    return { forceJson: settings.forceJson, now: this.now, random: Math.random, canvasOf }
  }

  private parts(): Promise<Parts> {
    if (!this.opened) {
      this.opened = openParts(this.sources, this.mode, this.hooks, this.hooks.report, this.now, this.failpoint)
      this.opened.catch(() => {
        this.opened = null // the next use tries again
      })
    }
    return this.opened
  }

  private async publish<R>(name: string, args: readonly unknown[], options: ApplyOptions): Promise<AsyncResult<R>> {
    const { trx, link, linkError, scope, workflowExpires, ...own } = options
    if ([link, linkError, scope, workflowExpires].some((given) => given !== undefined)) {
      return (await this.send(signature(name), { ...options, args }, null)) as AsyncResult<R>
    }
    const { publisher, settings } = await this.parts()
    const message = messageFor(
      name,
      args,
      own,
      this.declared.defaults(settings)(name) ?? {},
      settings,
      runningTask.getStore() ?? null,
      this.now(),
    )
    await publisher.publish(message, trx ? { trx } : {})
    return new AsyncResult<R>(message.id, () => this.parts(), message.options.ignoreResult)
  }

  private readonly send: Send = (canvas, options, grouped) => {
    const open = () => this.parts()
    return sendCanvas(canvas, options, grouped, open, (settings) => this.declared.defaults(settings))
  }
}

/**
 * An app on one ledger. It opens the database when it is first used, and reads the environment and
 * `taskledger.config.{js,mjs,json}` then; the environment wins over `settings`, those over the file.
 *
 * @throws {ConfigurationError} for a setting that is unknown or of the wrong type
 */
export function createApp(settings: Partial<Settings> = {}): App {
  return new App({ code: checkSettings(settings, 'createApp') })
}
