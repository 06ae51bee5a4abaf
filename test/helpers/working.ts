import type { App, RunningWorker, WorkerOptions } from '../../src/lib/app/app.js'

/** A worker of this process that works until the end of the test, or until it is stopped. */
export interface Working extends AsyncDisposable {
  readonly worker: RunningWorker
  /** Resolves when nothing of the worker's is under way any more. */
  readonly ended: Promise<void>
}

export function working(app: App, options: WorkerOptions = {}): Working {
  const worker = app.worker(options)
  const ended = worker.run()
  ended.catch(() => {}) // whoever waits for it sees the error
  return {
    worker,
    ended,
    async [Symbol.asyncDispose]() {
      worker.stop({ now: true })
      await ended
    },
  }
}

/** A door that the body of a task waits at until the test opens it. */
export function gate(): { readonly passed: Promise<void>; open(): void } {
  let open = () => {}
  const passed = new Promise<void>((resolve) => {
    open = resolve
  })
  return { passed, open: () => open() }
}

/** The module whose tasks a pool of processes runs in these tests. */
export const POOL_APP = new URL('../fixtures/pool-app.mjs', import.meta.url).href

/** A worker of this process whose tasks, those of POOL_APP, run in child processes. */
export async function pooled(app: App, options: WorkerOptions = {}): Promise<Working> {
  const { declare } = await import(POOL_APP)
  declare(app)
  return working(app, { pool: 'processes', module: POOL_APP, concurrency: 1, ...options })
}
