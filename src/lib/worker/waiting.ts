import type { Sql } from '../database/sql.js'
import type { Redaction } from '../ledger/arguments.js'
import { postpone } from '../ledger/moves.js'
import { takeTurn } from '../ledger/rate.js'
import { pending, recordTaskIfNew } from '../ledger/record.js'
import type { TaskDefinition } from '../task/definition.js'
import type { TaskMessage } from '../task/message.js'
import { rateIntervalMs } from '../task/rate-limit.js'

/**
 * Has a task that is not to start yet wait as a row instead of in a worker: a sender publishes it again, under the same id. False:
 * its time and turn have come.
 */
export async function waits(sql: Sql, task: TaskDefinition, message: TaskMessage, redaction: Redaction, now: number): Promise<boolean> {
  const { eta } = message
  if (eta === null || eta <= now) return waitsForTurn(sql, task, message, redaction, now)
  await waitAsRow(sql, message, eta, redaction, now) // it came at once from a broker that cannot hold it
  return true
}

/** A rate-limited task takes the next free turn, and waits for one that is not now. */
async function waitsForTurn(
  sql: Sql,
  { options, name }: TaskDefinition,
  message: TaskMessage,
  redaction: Redaction,
  now: number,
): Promise<boolean> {
  if (options.rateLimit === null || message.options.turn !== undefined) return false
  const turn = await takeTurn(sql, name, rateIntervalMs(options.rateLimit), now)
  if (turn <= now) return false
  return waitAsRow(sql, { ...message, options: { ...message.options, turn } }, turn, redaction, now)
}

/** False: the task has ended, or a live worker has it. */
async function waitAsRow(sql: Sql, message: TaskMessage, eta: number, redaction: Redaction, now: number): Promise<boolean> {
  const stored = redaction.stored(message, false)
  if (await postpone(sql, message.id, message.retries, eta, stored, now)) return true
  return recordTaskIfNew(sql, message, stored, pending(message, { publishedAt: null, eta, now }))
}
