import type { Knex } from 'knex'
import { Database } from '../database/database.js'
import { type MigrationStep, migrateTo } from '../database/migrate.js'
import { messageFor, type PublishOptions, type TaskDefaults } from '../publish/request.js'
import { runningTask, type TaskContext, type TaskDefinition } from '../task/definition.js'
import { PlainError, UsageError } from '../task/errors.js'
import { Worker } from '../worker/worker.js'
import { Hooks, type HookTypes } from './hooks.js'
import { openParts, type Parts } from './parts.js'
import { AsyncResult } from './result.js'
import { checkSettings, readSettings, type SettingSources, type Settings } from './settings.js'
import { type ApplyOptions, defaultsOf, defineTask, directContext, type Task, type TaskOptions } from './task.js'
import { Tasks } from './tasks.js'

export interface WorkerOptions {
  /** Default: the app's `defaultQueue`. */
  readonly queues?: readonly string[]
  /** How many tasks run at one time. Default: the app's. */
  readonly concurrency?: number
  /** Whether this worker also sends what is due. Default: true. */
  readonly sender?: boolean
}

export interface RunningWorker {
  readonly workerId: string
  /** Works until stopped; resolves when nothing is under way any more. */
  run(): Promise<void>
  /** Takes nothing new and lets `run` resolve once what runs has ended. With `now`, gives late-ack work back and waits for nothing. */
  stop(options?: { readonly now?: boolean }): void
}

/** The one place where settings become parts, tasks are named, and a program finds everything else. */
export class App {
  /** What the commands do, as functions. */
  readonly tasks = new Tasks(() => this.parts())
  private readonly definitions = new Map<string, TaskDefinition>()
  private readonly hooks = new Hooks()
  private opened: Promise<Parts> | null = null
  private readonly working = new Map<RunningWorker, Promise<void>>()

  constructor(
    private sources: SettingSources,
    private readonly mode: 'read' | 'write' = 'write',
    private readonly now: () => number = Date.now,
  ) {}

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
    const definition = defineTask(typeof nameOrOptions === 'string' ? { name: nameOrOptions } : nameOrOptions, run)
    if (this.definitions.has(definition.name)) throw new UsageError(`a task named ${definition.name} is registered already`)
    this.definitions.set(definition.name, definition)
    const body = run as (...args: unknown[]) => R
    const call = (...args: A): R => (definition.bind ? body(directContext(definition, args), ...args) : body(...args))
    const applyAsync = (args: readonly unknown[], options: ApplyOptions = {}) =>
      this.publish<Awaited<R>>(definition.name, args, options, defaultsOf(definition))
    return Object.assign(call, { taskName: definition.name, delay: (...args: A) => applyAsync(args), applyAsync }) as Task<A, R>
  }

  /** Publishes a task by its name, which may be registered in another program only. */
  sendTask(name: string, args: readonly unknown[] = [], options: ApplyOptions = {}): Promise<AsyncResult> {
    const definition = this.definitions.get(name)
    return this.publish(name, args, options, definition ? defaultsOf(definition) : {})
  }

  /** The handle on a task that was published before, perhaps by another program. */
  result<R = unknown>(taskId: string): AsyncResult<R> {
    return new AsyncResult<R>(taskId, () => this.database())
  }

  /** Adds a hook. A `beforePublish` that throws refuses the publish; what any other throws is told to the `error` hooks. */
  on<K extends keyof HookTypes>(hook: K, fn: HookTypes[K]): this {
    this.hooks.add(hook, fn)
    return this
  }

  worker(options: WorkerOptions = {}): RunningWorker {
    let worker: Worker | null = null
    const stopping = new AbortController()
    const run = async (): Promise<void> => {
      const parts = await this.parts()
      worker = this.buildWorker(parts, options)
      if (stopping.signal.aborted) worker.stop()
      const sending = options.sender === false ? null : parts.sender.run(stopping.signal)
      try {
        await worker.run()
      } finally {
        stopping.abort()
        await sending
      }
    }
    const running: RunningWorker = {
      get workerId() {
        return worker?.identity.workerId ?? ''
      },
      run: () => {
        const done = run().finally(() => this.working.delete(running))
        this.working.set(running, done)
        return done
      },
      stop: ({ now = false } = {}) => {
        stopping.abort()
        if (now) worker?.stopNow()
        else worker?.stop()
      },
    }
    return running
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
    for (const worker of this.working.keys()) worker.stop()
    await Promise.allSettled(this.working.values()) // whoever runs a worker gets its error
    const opened = this.opened
    this.opened = null
    const parts = await opened?.catch(() => null) // what failed to open has nothing to close
    await parts?.broker.close()
    await parts?.database.close()
  }

  private buildWorker({ settings, database, broker, redaction }: Parts, options: WorkerOptions): Worker {
    const { lease, maxDeliveries, forceJson, resultExpires } = settings
    const queues = options.queues ?? [settings.defaultQueue]
    const concurrency = options.concurrency ?? settings.concurrency
    const own = { queues, concurrency, leaseMs: lease * 1000, maxDeliveries, forceJson, resultExpires }
    return new Worker(database, broker, redaction, this.definitions, own, this.hooks.emit, this.hooks.report, this.now, Math.random)
  }

  private parts(): Promise<Parts> {
    if (!this.opened) {
      this.opened = openParts(this.sources, this.mode, this.hooks, this.hooks.report, this.now)
      this.opened.catch(() => {
        this.opened = null // the next use tries again
      })
    }
    return this.opened
  }

  private async publish<R>(
    name: string,
    args: readonly unknown[],
    { trx, ...options }: ApplyOptions,
    defaults: TaskDefaults,
  ): Promise<AsyncResult<R>> {
    const { publisher, settings } = await this.parts()
    const message = messageFor(name, args, options satisfies PublishOptions, defaults, settings, runningTask.getStore() ?? null, this.now())
    await publisher.publish(message, trx ? { trx } : {})
    return new AsyncResult<R>(message.id, () => this.database(), message.options.ignoreResult)
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
