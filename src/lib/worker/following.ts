import type { TaskEnd } from '../canvas/settle.js'
import type { Sql } from '../database/sql.js'
import { type Follower, revokedFor } from '../publish/follow.js'
import type { TaskMessage } from '../task/message.js'
import type { Outcome } from '../task/outcome.js'

/** What follows an execution whose row has just ended, in the same commit. */
export async function following(sql: Sql, follower: Follower, message: TaskMessage, outcome: Outcome): Promise<TaskMessage[]> {
  const added = 'added' in outcome && outcome.added ? await follower.add(sql, message, outcome.added) : []
  if (outcome.kind === 'replaced') return [...added, ...(await follower.replace(sql, message, outcome.canvas, outcome.id))]
  const end = endOf(outcome)
  return end ? [...added, ...(await follower.follow(sql, message, end))] : added
}

/** How the outcome ends the task; null: it runs again. */
function endOf(outcome: Exclude<Outcome, { kind: 'replaced' }>): TaskEnd | null {
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
    case 'retrying':
      return null
  }
}
