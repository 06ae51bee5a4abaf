import type { TaskEnd } from '../canvas/settle.js'
import type { Sql } from '../database/sql.js'
import { type Follower, revokedFor, type Unsent } from '../publish/follow.js'
import type { TaskMessage } from '../task/message.js'
import type { ExecutionOptions } from '../task/options.js'
import type { Outcome } from '../task/outcome.js'

/** What follows an execution whose row has just ended, or waits for a retry, in the same commit. */
export async function following(
  sql: Sql,
  follower: Follower,
  message: TaskMessage,
  outcome: Outcome,
  { storeErrorsEvenIfIgnored }: Pick<ExecutionOptions, 'storeErrorsEvenIfIgnored'>,
): Promise<Unsent[]> {
  if (outcome.kind === 'retrying') return follower.retried(sql, message, outcome.error)
  const added = 'added' in outcome && outcome.added ? await follower.add(sql, message, outcome.added) : []
  if (outcome.kind === 'replaced') return [...added, ...(await follower.replace(sql, message, outcome.canvas, outcome.id))]
  return [...added, ...(await follower.follow(sql, message, endOf(outcome), storeErrorsEvenIfIgnored))]
}

/** How the outcome ends the task. */
function endOf(outcome: Exclude<Outcome, { kind: 'replaced' | 'retrying' }>): TaskEnd {
  switch (outcome.kind) {
    case 'succeeded':
      return { status: 'SUCCESS', value: outcome.result }
    case 'ignored':
      return { status: 'IGNORED' }
    case 'revoked':
      return revokedFor(outcome.reason)
    case 'failed':
    case 'rejected':
    case 'timed-out':
    case 'lost':
      return { status: 'FAILURE', error: outcome.error }
  }
}
