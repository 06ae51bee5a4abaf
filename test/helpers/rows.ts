import type { Database } from '../../src/lib/database/database.js'
import type { Binding } from '../../src/lib/database/sql.js'
import type { Beginning } from '../../src/lib/ledger/record.js'
import type { StoredRow } from '../../src/lib/ledger/row.js'
import type { WatchedColumns } from '../../src/lib/ledger/watched.js'
import type { TaskMessage } from '../../src/lib/task/message.js'
import { isFinal } from '../../src/lib/task/status.js'
import { DAWN } from './world.js'

/** A message as a plain publish at DAWN makes it, apart from what is `given`. */
export function aMessage(given: Partial<TaskMessage> = {}): TaskMessage {
  const id = given.id ?? 'task-1'
  const queue = given.queue ?? 'default'
  return {
    id,
    task: 'mail.send',
    args: ['a@b.c'],
    kwargs: { subject: 'hello' },
    queue,
    exchange: '',
    routingKey: queue,
    priority: 0,
    eta: null,
    expires: null,
    retries: 0,
    parentId: null,
    rootId: id,
    groupId: null,
    groupIndex: null,
    retryOf: null,
    periodicName: null,
    options: {},
    submittedAt: DAWN,
    ...given,
  }
}

export const aBeginning = (given: Partial<Beginning> = {}): Beginning => ({
  status: 'PENDING',
  publishedAt: DAWN,
  maxRetries: null,
  eta: null,
  retries: 0,
  started: null,
  now: DAWN,
  ...given,
})

/** What a watch writes of a task that runs in Celery since DAWN. */
export const watchedColumns = (given: Partial<WatchedColumns> = {}): WatchedColumns => ({
  task: 'tasks.add',
  args: '[1]',
  kwargs: '{}',
  status: 'STARTED',
  result: null,
  error_type: null,
  error_message: null,
  traceback: null,
  queue: 'q',
  exchange: '',
  routing_key: 'q',
  priority: 0,
  eta: null,
  expires: null,
  retries: 0,
  worker_id: 'w1@host',
  lease_until: DAWN + 1,
  parent_id: null,
  group_id: null,
  group_index: null,
  root_id: 'id-1',
  submitted_at: DAWN,
  published_at: DAWN,
  started_at: DAWN,
  updated_at: DAWN,
  finished_at: null,
  result_expires_at: null,
  ...given,
})

export type Columns = Partial<Omit<StoredRow, 'id'>> & Pick<StoredRow, 'task_id'>

/** Writes a row as a past that no test wants to live through has left it: PENDING and published at DAWN, apart from `columns`. */
export async function putRow(database: Database, columns: Columns): Promise<void> {
  const status = columns.status ?? 'PENDING'
  const row: Record<string, Binding> = {
    task: 'mail.send',
    args: '["a@b.c"]',
    kwargs: '{"subject":"hello"}',
    status,
    queue: 'default',
    exchange: '',
    routing_key: 'default',
    priority: 0,
    retries: 0,
    root_id: columns.task_id,
    options: '{}',
    submitted_at: DAWN,
    published_at: status === 'SCHEDULED' ? null : DAWN,
    updated_at: DAWN,
    finished_at: isFinal(status) ? DAWN : null,
    ...columns,
  }
  const names = Object.keys(row)
  await database.run(`INSERT INTO task_result (${names.join(', ')}) VALUES (${names.map(() => '?').join(', ')})`, Object.values(row))
}

/** The row as it is stored, for comparing the whole of it. */
export async function storedRow(database: Database, taskId: string): Promise<StoredRow> {
  const [row] = await database.all<StoredRow>('SELECT * FROM task_result WHERE task_id = ?', [taskId])
  if (!row) throw new Error(`no row ${taskId}`)
  return row
}
