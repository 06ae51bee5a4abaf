import type { ExecutionOptions } from '../task/options.js'
import type { ErrorRecord, Outcome } from '../task/outcome.js'
import { verdictOn } from './verdict.js'

interface Of {
  readonly id: string
  readonly task: string
  readonly retries: number
}

/** What a worker tells of its work: after the row says so, never before. */
export type WorkerEvent =
  | (Of & { readonly kind: 'started' })
  | (Of & { readonly kind: 'succeeded'; readonly runMs: number })
  /** `expected`: the task's `throws` names the error. */
  | (Of & { readonly kind: 'failed'; readonly error: ErrorRecord; readonly expected: boolean })
  | (Of & { readonly kind: 'retried'; readonly error: ErrorRecord | null; readonly eta: Date })
  | (Of & { readonly kind: 'revoked'; readonly reason: string })
  | (Of & { readonly kind: 'ignored' })
  /** Rejected with requeue, lost with its process, or stopped by its time limit, and to run again. */
  | (Of & { readonly kind: 'requeued'; readonly error: ErrorRecord })
  /** Its worker vanished, and the task's `onWorkerLost` settled it: it failed, or is retried. */
  | (Of & { readonly kind: 'lost'; readonly error: ErrorRecord; readonly retried: boolean })

export const EVENT_KINDS = [
  'started',
  'succeeded',
  'failed',
  'retried',
  'revoked',
  'ignored',
  'requeued',
  'lost',
] as const satisfies readonly WorkerEvent['kind'][]

/** What is told of an execution that ended so. */
export function eventOf(of: Of, options: ExecutionOptions, outcome: Outcome, runMs: number): WorkerEvent {
  switch (outcome.kind) {
    case 'succeeded':
      return { ...of, kind: 'succeeded', runMs }
    case 'ignored':
    case 'replaced': // its row is IGNORED; what it was replaced with tells of itself
      return { ...of, kind: 'ignored' }
    case 'revoked':
      return { ...of, kind: 'revoked', reason: outcome.reason }
    case 'retrying':
      return { ...of, kind: 'retried', error: outcome.error, eta: new Date(outcome.eta) }
    case 'failed':
    case 'rejected':
    case 'timed-out':
    case 'lost': {
      const { error } = outcome
      if (verdictOn(outcome, options).kind === 'again') return { ...of, kind: 'requeued', error }
      return { ...of, kind: 'failed', error, expected: outcome.kind === 'failed' && outcome.expected }
    }
  }
}
