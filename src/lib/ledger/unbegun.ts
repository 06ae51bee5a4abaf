import { insertIfNew } from '../database/change.js'
import type { Sql } from '../database/sql.js'
import type { TaskMessage } from '../task/message.js'
import type { ErrorRecord } from '../task/outcome.js'
import type { StoredArguments } from './arguments.js'
import type { End } from './ends.js'

/** How a task ended that never began. */
export interface Unbegun {
  readonly status: 'FAILURE' | 'REVOKED' | 'IGNORED'
  readonly error: ErrorRecord | null
}

const COLUMNS = [
  'task_id',
  'task',
  'args',
  'kwargs',
  'status',
  'error_type',
  'error_message',
  'traceback',
  'queue',
  'exchange',
  'routing_key',
  'priority',
  'eta',
  'expires',
  'retries',
  'parent_id',
  'root_id',
  'group_id',
  'group_index',
  'retry_of',
  'options',
  'submitted_at',
  'updated_at',
  'finished_at',
  'result_expires_at',
] as const

const INSERT = `INSERT INTO task_result (${COLUMNS.join(', ')}) VALUES (${COLUMNS.map(() => '?').join(', ')})`

/** Writes the row of a task that ended before it was sent. False: the task has a row already, which is left alone. */
export async function recordUnbegun(sql: Sql, message: TaskMessage, stored: StoredArguments, how: Unbegun, end: End): Promise<boolean> {
  const { status, error } = how
  return insertIfNew(sql, INSERT, 'task_id', [
    message.id,
    message.task,
    stored.args,
    stored.kwargs,
    status,
    error?.type ?? null,
    error?.message ?? null,
    error?.traceback ?? null,
    message.queue,
    message.exchange,
    message.routingKey,
    message.priority,
    message.eta,
    message.expires,
    message.retries,
    message.parentId,
    message.rootId,
    message.groupId,
    message.groupIndex,
    message.retryOf,
    stored.options,
    message.submittedAt,
    end.at,
    end.at,
    end.resultExpiresAt,
  ])
}
