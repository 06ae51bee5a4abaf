import type { ExecutionOptions } from '../task/options.js'
import type { ErrorRecord, Outcome } from '../task/outcome.js'

/** What becomes of a row, and of a late-ack message, after an execution. */
export type Verdict =
  /** The row ends (or waits for a retry), the message is done. */
  | { readonly kind: 'end'; readonly message: 'ack' | 'reject' }
  /** The message goes back, and the row with it: it runs again. */
  | { readonly kind: 'again'; readonly error: ErrorRecord }

type Acknowledgement = Pick<ExecutionOptions, 'acksLate' | 'acksOnFailureOrTimeout' | 'rejectOnWorkerLost'>

/** Celery's decision table on completion (worker/request.py), with its loops bounded by `maxDeliveries`. Decides only. */
export function verdictOn(outcome: Outcome, options: Acknowledgement): Verdict {
  switch (outcome.kind) {
    case 'rejected':
      return outcome.requeue ? { kind: 'again', error: outcome.error } : { kind: 'end', message: 'reject' }
    case 'lost':
      return options.acksLate && options.rejectOnWorkerLost ? { kind: 'again', error: outcome.error } : { kind: 'end', message: 'ack' }
    case 'timed-out':
      return options.acksLate && !options.acksOnFailureOrTimeout ? { kind: 'again', error: outcome.error } : { kind: 'end', message: 'ack' }
    case 'failed':
      return { kind: 'end', message: options.acksOnFailureOrTimeout ? 'ack' : 'reject' }
    case 'succeeded':
    case 'replaced':
    case 'retrying':
    case 'ignored':
    case 'revoked':
      return { kind: 'end', message: 'ack' }
  }
}
