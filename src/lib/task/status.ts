/**
 * Every status the ledger gives by itself. A running task may also set a word of its own:
 * such a custom status counts as started and open.
 */
export const STATUSES = ['PENDING', 'SCHEDULED', 'STARTED', 'RETRY', 'SUCCESS', 'FAILURE', 'REVOKED', 'IGNORED', 'SCHEDULED_SENT'] as const

export type Status = (typeof STATUSES)[number]

/** Every move the ledger accepts; one that is missing here is refused, never forced. */
export const MOVES = {
  PENDING: ['STARTED', 'REVOKED', 'FAILURE'],
  SCHEDULED: ['SCHEDULED_SENT', 'REVOKED'],
  STARTED: ['STARTED', 'PENDING', 'RETRY', 'SUCCESS', 'FAILURE', 'IGNORED', 'REVOKED'], // STARTED again: a redelivery; PENDING: given back
  RETRY: ['STARTED', 'REVOKED', 'FAILURE'],
  SUCCESS: [],
  FAILURE: [],
  REVOKED: [],
  IGNORED: [],
  SCHEDULED_SENT: [],
} as const satisfies Record<Status, readonly Status[]>

/** Celery's order, the highest first. Any other status, the ledger's own and a task's, stands where `null` does. */
const PRECEDENCE: readonly (string | null)[] = [
  'SUCCESS',
  'FAILURE',
  null,
  'REVOKED',
  'STARTED',
  'RECEIVED',
  'REJECTED',
  'RETRY',
  'PENDING',
]

const rankOf = (status: string): number => {
  const rank = PRECEDENCE.indexOf(status)
  return rank < 0 ? PRECEDENCE.indexOf(null) : rank
}

/**
 * Celery's comparison of states, for whoever merges what several sources say of one task: above 0 when `a` has the higher
 * precedence. The ledger itself goes by the moves above.
 */
export const compareStatuses = (a: string, b: string): number => rankOf(b) - rankOf(a)

/** Statuses no row leaves. A row has `finished_at` exactly when its status is one of these. */
export const FINAL_STATUSES: readonly Status[] = STATUSES.filter((status) => MOVES[status].length === 0)

export const isFinal = (status: string): boolean => FINAL_STATUSES.some((final) => final === status)
