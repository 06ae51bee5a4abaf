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

/** Statuses no row leaves. A row has `finished_at` exactly when its status is one of these. */
export const FINAL_STATUSES: readonly Status[] = STATUSES.filter((status) => MOVES[status].length === 0)

export const isFinal = (status: string): boolean => FINAL_STATUSES.some((final) => final === status)
