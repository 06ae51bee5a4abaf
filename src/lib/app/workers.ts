import type { Sender } from '../schedule/sender.js'
import type { KnownTasks } from '../worker/intake.js'
import { AsyncPool } from '../worker/pool/async-pool.js'
import type { Surroundings } from '../worker/run-task.js'
import { Worker } from '../worker/worker.js'
import type { Hooks } from './hooks.js'
import type { Parts } from './parts.js'
import { type PoolOptions, processPool } from './pools.js'
import type { SettingSources } from './setting-sources.js'
import { checkSettings } from './settings.js'

export interface WorkerOptions extends PoolOptions {
  /** Default: the app's `defaultQueue`. */
  readonly queues?: readonly string[]
  /** How many tasks run at one time. Default: the app's. */
  readonly concurrency?: number
  /** Whether this worker also sends what is due. Default: true. */
  readonly sender?: boolean
  /** Seconds that running tasks may take to end once `stop` was called. Default: the app's. */
  readonly shutdownTimeout?: number
}

export interface RunningWorker {
  readonly workerId: string
  /** Works until stopped; resolves when nothing is under way any more. */
  run(): Promise<void>
  /**
   * Takes nothing new and lets `run` resolve once what runs has ended, or the shutdown timeout has passed. Then, or at once
   * with `now`, late-ack tasks go back to their queue and early-ack ones are settled by their `onWorkerLost`.
   */
  stop(options?: { readonly now?: boolean }): void
}

/** What works for an app: a worker, and what sends beside it. */
export interface Crew {
  readonly worker: Worker
  /** Null: others send. */
  readonly sender: Sender | null
}

/** The workers of an app, each opened when it is run. */
export class Workers {
  private readonly working = new Map<RunningWorker, Promise<void>>()

  add(open: () => Promise<Crew>): RunningWorker {
    let worker: Worker | null = null
    const stopping = new AbortController()
    const run = async (): Promise<void> => {
      const crew = await open()
      worker = crew.worker
      if (stopping.signal.aborted) worker.stop()
      const sending = crew.sender?.run(stopping.signal)
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

  /** Stops all that run, and waits until nothing is under way. */
  async stop(): Promise<void> {
    for (const worker of this.working.keys()) worker.stop()
    await Promise.allSettled(this.working.values()) // whoever runs a worker gets its error
  }
}

/**
 * @param surroundings what bodies run with in this process
 * @throws {ConfigurationError} for an option of the wrong type
 */
export function workerOf(
  { settings, database, broker, redaction, follower, now, failpoint }: Parts,
  options: WorkerOptions,
  tasks: KnownTasks,
  surroundings: Omit<Surroundings, 'update' | 'stop'>,
  sources: SettingSources,
  { emit, report }: Hooks,
): Worker {
  const { lease, maxDeliveries, resultExpires } = settings
  const queues = options.queues ?? [settings.defaultQueue]
  const given = checkSettings({ concurrency: options.concurrency, shutdownTimeout: options.shutdownTimeout }, 'app.worker')
  const { concurrency, shutdownTimeout } = { ...settings, ...given }
  const own = { queues, concurrency, leaseMs: lease * 1000, maxDeliveries, resultExpires, shutdownMs: shutdownTimeout * 1000 }
  const pool = options.pool === 'processes' ? processPool(settings, concurrency, options, sources, report) : new AsyncPool(surroundings)
  return new Worker(database, broker, redaction, follower, tasks, pool, own, emit, report, now, failpoint)
}
