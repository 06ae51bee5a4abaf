import type { Sql } from '../database/sql.js'
import type { StoredArguments } from '../ledger/arguments.js'
import { type AttemptKind, recordAttempt } from '../ledger/attempts.js'
import { type End, moveToFailure, moveToIgnored, moveToReplaced, moveToRevoked, moveToSuccess } from '../ledger/ends.js'
import { moveToRetry, type Owner, removeOwned } from '../ledger/moves.js'
import { leavesNoRow, type TaskMessage } from '../task/message.js'
import type { ExecutionOptions } from '../task/options.js'
import type { ErrorRecord, Outcome } from '../task/outcome.js'

/** What the last move of an execution needs. */
export interface Ending {
  readonly message: TaskMessage
  readonly owner: Owner
  readonly end: End
  readonly options: ExecutionOptions
  /** A message's arguments as a row that waits to be sent holds them. */
  readonly stored: (message: TaskMessage) => StoredArguments
}

/** An execution that ended well. */
export type Success = Extract<Outcome, { kind: 'succeeded' }>

/** The result that is kept. */
export const resultOf = ({ options }: TaskMessage, { text }: Success): string | null => (options.ignoreResult ? null : text)

/** STARTED → whatever the outcome says, by its owner. False: the row was no longer its. */
export async function moveToEnd(sql: Sql, ending: Ending, outcome: Outcome): Promise<boolean> {
  const { message, owner, end } = ending
  const forgotten = leavesNoRow(message)
  switch (outcome.kind) {
    case 'succeeded':
      if (forgotten) return removeOwned(sql, owner)
      return moveToSuccess(sql, owner, resultOf(message, outcome), end)
    case 'ignored':
      return forgotten ? removeOwned(sql, owner) : moveToIgnored(sql, owner, end)
    case 'replaced':
      return forgotten ? removeOwned(sql, owner) : moveToReplaced(sql, owner, outcome.id, end)
    case 'revoked':
      return moveToRevoked(sql, owner, outcome.reason, end)
    case 'failed':
      return fail(sql, ending, 'failure', outcome.error)
    case 'rejected':
      return fail(sql, ending, 'rejected', outcome.error)
    case 'timed-out':
    case 'lost':
      return fail(sql, ending, 'lost', outcome.error)
    case 'retrying': {
      const { turn: _, ...options } = message.options // a retry waits for a turn of its own
      const changed = { ...message, ...outcome.changes, options }
      const waiting = {
        retries: message.retries + 1,
        eta: outcome.eta,
        error: outcome.error,
        stored: ending.stored(changed),
        queue: changed.queue,
        priority: changed.priority,
      }
      const moved = await moveToRetry(sql, owner, waiting, end.at)
      if (moved) await recordAttempt(sql, owner.taskId, 'retry', owner.workerId, outcome.error, end.at)
      return moved
    }
  }
}

async function fail(sql: Sql, { message, owner, end, options }: Ending, kind: AttemptKind, error: ErrorRecord): Promise<boolean> {
  const forgotten = leavesNoRow(message) && !options.storeErrorsEvenIfIgnored
  if (forgotten) return removeOwned(sql, owner)
  const moved = await moveToFailure(sql, owner, error, end)
  if (moved) await recordAttempt(sql, owner.taskId, kind, owner.workerId, error, end.at)
  return moved
}
