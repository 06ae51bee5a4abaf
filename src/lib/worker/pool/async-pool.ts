import type { Outcome } from '../../task/outcome.js'
import { hardLimitOf, runTask, type Surroundings } from '../run-task.js'
import { type Job, type Pool, timeLimitExceeded } from './pool.js'

/**
 * Bodies run in this process, side by side: right for tasks that wait. Nothing can stop JavaScript that runs here; a hard
 * time limit gives the slot back and leaves the body to itself.
 */
export class AsyncPool implements Pool {
  constructor(private readonly surroundings: Omit<Surroundings, 'update' | 'stop'>) {}

  async start(): Promise<void> {}

  run(job: Job): Promise<Outcome> {
    const { definition, delivery, update, stop } = job
    const seconds = hardLimitOf(definition, delivery)
    return seconds === null ? runTask(definition, delivery, { ...this.surroundings, update, stop }) : this.runWithin(seconds, job)
  }

  private async runWithin(seconds: number, { definition, delivery, update, stop }: Job): Promise<Outcome> {
    const limit = new AbortController()
    const body = runTask(definition, delivery, {
      ...this.surroundings,
      update,
      stop: { signal: AbortSignal.any([stop.signal, limit.signal]) },
    })
    let timer: NodeJS.Timeout | null = null
    const timedOut = new Promise<Outcome>((resolve) => {
      timer = setTimeout(() => {
        const error = timeLimitExceeded(seconds)
        resolve({ kind: 'timed-out', error })
        limit.abort(Object.assign(new Error(error.message), { name: error.type }))
      }, seconds * 1000)
    })
    const outcome = await Promise.race([body, timedOut])
    if (timer) clearTimeout(timer)
    return outcome
  }

  async close(): Promise<void> {}
}
