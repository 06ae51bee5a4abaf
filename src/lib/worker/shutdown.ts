import type { Outcome } from '../task/outcome.js'
import type { Life, Started } from './life.js'
import { shutDown } from './reasons.js'

/**
 * Settles an early-ack task that its worker gives up: nobody would run it again by itself. `onWorkerLost: 'retry'` has
 * it run again while a retry is left; otherwise it fails. Null: it had ended already.
 */
export async function endShutDown(life: Life, started: Started, now: number): Promise<Outcome | null> {
  const { definition, delivery } = started
  const { onWorkerLost, maxRetries } = definition.options
  const left = maxRetries === null || delivery.message.retries < maxRetries
  const outcome: Outcome =
    onWorkerLost === 'retry' && left
      ? { kind: 'retrying', eta: now, error: shutDown, changes: {} }
      : { kind: 'failed', error: shutDown, expected: false }
  return life.settle(started, outcome)
}
