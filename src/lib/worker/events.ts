import type { ErrorRecord } from '../task/outcome.js'

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
