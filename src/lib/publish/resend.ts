import type { Broker } from '../broker/broker.js'
import { refreeze } from '../canvas/freeze.js'
import { kwargsOfCopy } from '../canvas/progress.js'
import type { Sql } from '../database/sql.js'
import { findTask, lockTasks, retriesOf } from '../ledger/find.js'
import { messageOf, type TaskRow, UnsendableRowError } from '../ledger/row.js'
import { UsageError } from '../task/errors.js'
import { newTaskId } from '../task/id.js'
import type { MessageOptions, TaskMessage } from '../task/message.js'
import { toQueue } from '../task/routing.js'
import type { Canvas } from '../task/signature.js'
import { isFinal } from '../task/status.js'
import { type Publisher, RefusedError } from './publisher.js'

/** What a copy has instead of what the original had. */
export interface ResendOverrides {
  readonly queue?: string
  readonly priority?: number
  /** Not before this instant. */
  readonly eta?: Date
}

export interface ResendTerms extends ResendOverrides {
  /** Also what has ended well, what a live worker has, and what was sent again before. */
  readonly force?: boolean
}

/** What became of one row that an operator asked to send again. */
export interface Resent {
  readonly taskId: string
  readonly task: string
  readonly newTaskId: string | null
  /** Why it was not sent. */
  readonly error: string | null
}

/** An instant that has passed would revoke the copy at once: it gets the same time to live, counted from now. */
function renewed(instant: number, submittedAt: number, nowMs: number): number {
  return instant > nowMs ? instant : nowMs + Math.max(0, instant - submittedAt)
}

/**
 * A copy of a recorded task that carries everything it was published with, under a new id.
 *
 * @throws {UnsendableRowError} when the row does not hold the whole of it
 */
export function copyOf(row: TaskRow, overrides: ResendOverrides, nowMs: number): TaskMessage {
  const original = messageOf(row)
  const id = newTaskId(nowMs)
  return {
    ...original,
    id,
    kwargs: kwargsOfCopy(original.task, original.kwargs, row.meta),
    ...(overrides.queue === undefined ? {} : toQueue(overrides.queue)),
    priority: overrides.priority ?? original.priority,
    eta: overrides.eta && overrides.eta.getTime() > nowMs ? overrides.eta.getTime() : null,
    expires: original.expires === null ? null : renewed(original.expires, original.submittedAt, nowMs),
    retries: 0,
    rootId: original.rootId === original.id ? id : original.rootId,
    retryOf: original.id,
    options: optionsOfCopy(original, nowMs),
    submittedAt: nowMs,
  }
}

/** What is to follow the copy gets ids of its own: the rows of what followed the original are final. */
function optionsOfCopy({ options, submittedAt }: TaskMessage, nowMs: number): MessageOptions {
  const again = (parts: readonly Canvas[]): readonly Canvas[] => parts.map((part) => refreeze(part, () => newTaskId(nowMs)).canvas)
  const { celery: _, ...own } = options // clients wait for the original, and its chord has counted it
  const { chain, link, linkError, deadline } = own
  return {
    ...own,
    ...(chain ? { chain: again(chain) } : {}),
    ...(link ? { link: again(link) } : {}),
    ...(linkError ? { linkError: again(linkError) } : {}),
    ...(deadline === undefined ? {} : { deadline: renewed(deadline, submittedAt, nowMs) }),
  }
}

/** Why a row is not one to send a copy of, by the row alone. Null: it is. */
function refusalOf(row: TaskRow, nowMs: number): string | null {
  if (row.status === 'FAILURE' || row.status === 'REVOKED') return null
  if (isFinal(row.status)) return `it ended ${row.status}; --force sends it again`
  if (row.leaseUntil !== null && row.leaseUntil.getTime() > nowMs) return `worker ${row.workerId} is running it; --force sends a second one`
  return null
}

/** Why a row needs no copy, however much it is wished: what is recorded will be sent by itself, or with the one it waited for. */
function waits(row: TaskRow): string | null {
  const { settledBy } = row.options
  if (settledBy !== undefined) return `it never ran: it ended with ${settledBy}; send that one again, and it follows`
  if (isFinal(row.status) || row.publishedAt !== null) return null
  if (row.eta === null) return 'it was never published; a sender publishes it itself (taskledger send-scheduled)'
  return `it waits for ${row.eta.toISOString()}; a sender sends it then (taskledger send-scheduled)`
}

/**
 * Sends a copy of a row and leaves the row as it is. Whether it still needs one, and whether one was sent before, is asked
 * in the commit that records this one, so two operators cannot both send it.
 */
export async function resend(row: TaskRow, terms: ResendTerms, publisher: Publisher, broker: Broker, nowMs: number): Promise<Resent> {
  const { taskId, task } = row
  return unlessRefused(row, async () => {
    const why = await refusalBefore(row, terms, broker, nowMs)
    if (why) return refused(row, why)
    const copy = copyOf(row, terms, nowMs)
    const refusal = async (sql: Sql) => (await endedSince(sql, taskId, nowMs)) ?? sentBefore(sql, taskId)
    await publisher.publish(copy, terms.force ? {} : { refusal })
    return { taskId, task, newTaskId: copy.id, error: null }
  })
}

/** What `resend` would say now of a row, without sending anything; only what a hook would refuse is not known. */
export async function previewResend(row: TaskRow, terms: ResendTerms, sql: Sql, broker: Broker, nowMs: number): Promise<Resent> {
  const { taskId, task } = row
  return unlessRefused(row, async () => {
    const before = await refusalBefore(row, terms, broker, nowMs)
    if (before === null) copyOf(row, terms, nowMs) // it says what the row lacks
    return { taskId, task, newTaskId: null, error: before ?? (terms.force ? null : await sentBefore(sql, taskId)) }
  })
}

const refused = ({ taskId, task }: TaskRow, error: string): Resent => ({ taskId, task, newTaskId: null, error })

/** What is refused is an answer; anything else that goes wrong is not. */
async function unlessRefused(row: TaskRow, send: () => Promise<Resent>): Promise<Resent> {
  try {
    return await send()
  } catch (error) {
    if (error instanceof UnsendableRowError || error instanceof RefusedError || error instanceof UsageError)
      return refused(row, error.message)
    throw error
  }
}

async function refusalBefore(row: TaskRow, terms: ResendTerms, broker: Broker, nowMs: number): Promise<string | null> {
  return waits(row) ?? (terms.force ? null : (refusalOf(row, nowMs) ?? (await stillQueued(row, broker))))
}

async function stillQueued(row: TaskRow, broker: Broker): Promise<string | null> {
  if (isFinal(row.status) || !(await broker.has(row.taskId))) return null
  return `its message is still in the queue ${row.queue}: a worker of that queue will run it; --force sends a second one`
}

/** The row was read a while ago: since then a worker may have got to it. */
async function endedSince(sql: Sql, taskId: string, nowMs: number): Promise<string | null> {
  await lockTasks(sql, [taskId]) // until then another operator's copy is not recorded, or is there to be seen
  const row = await findTask(sql, taskId)
  return row && (waits(row) ?? refusalOf(row, nowMs))
}

async function sentBefore(sql: Sql, taskId: string): Promise<string | null> {
  const copies = await retriesOf(sql, taskId)
  return copies.length === 0 ? null : `it was sent again before, as ${copies.join(', ')}; --force sends another`
}
