import { insertIfNew } from '../database/change.js'
import { instant } from '../database/columns.js'
import type { Sql } from '../database/sql.js'
import type { ErrorRecord } from '../task/outcome.js'

/** Why a line of history was written: what became of an execution, or of a try to send. `given-back`: by a worker that was shut down. */
export type AttemptKind = 'retry' | 'failure' | 'rejected' | 'lost' | 'given-back' | 'late-result' | 'send-failed'

export interface Attempt {
  readonly seq: number
  readonly at: Date
  readonly kind: AttemptKind
  readonly workerId: string | null
  readonly errorType: string | null
  readonly errorMessage: string | null
  readonly traceback: string | null
}

/** Adds one line to the history of a task. History is never changed. */
export async function recordAttempt(
  sql: Sql,
  taskId: string,
  kind: AttemptKind,
  workerId: string | null,
  error: ErrorRecord | null,
  now: number,
): Promise<void> {
  while (!(await tryAttempt(sql, taskId, kind, workerId, error, now)));
}

/** The same, unless another commit has just taken the number of the line. False: it has. */
export async function tryAttempt(
  sql: Sql,
  taskId: string,
  kind: AttemptKind,
  workerId: string | null,
  error: ErrorRecord | null,
  now: number,
): Promise<boolean> {
  const line = [taskId, taskId, now, kind, workerId, error?.type ?? null, error?.message ?? null, error?.traceback ?? null]
  const next = sql.dialect.apart('SELECT coalesce(max(seq), 0) + 1 FROM task_attempt WHERE task_id = ?')
  return insertIfNew(sql, insertWith(next), 'task_id, seq', line)
}

const insertWith = (next: string): string =>
  `INSERT INTO task_attempt (task_id, seq, at, kind, worker_id, error_type, error_message, traceback) VALUES (?, ${next}, ?, ?, ?, ?, ?, ?)`

/** How often a task was rejected since it was sent, or last retried. */
export async function rejectionsOf(sql: Sql, taskId: string): Promise<number> {
  const [row] = await sql.all<{ n: number }>(
    `SELECT count(*) AS n FROM task_attempt WHERE task_id = ? AND kind = 'rejected'
        AND seq > (SELECT coalesce(max(seq), 0) FROM task_attempt WHERE task_id = ? AND kind IN ('retry', 'lost'))`,
    [taskId, taskId],
  )
  return row?.n ?? 0
}

/** How often workers that were shut down have given a task back since it was sent, or last retried. */
export async function givenBackOf(sql: Sql, taskId: string): Promise<number> {
  const [row] = await sql.all<{ n: number }>(
    `SELECT count(*) AS n FROM task_attempt WHERE task_id = ? AND kind = 'given-back'
        AND seq > (SELECT coalesce(max(seq), 0) FROM task_attempt WHERE task_id = ? AND kind = 'retry')`,
    [taskId, taskId],
  )
  return row?.n ?? 0
}

/** The history of a task, oldest first. */
export async function attemptsOf(sql: Sql, taskId: string): Promise<Attempt[]> {
  const rows = await sql.all<{
    seq: number
    at: number
    kind: AttemptKind
    worker_id: string | null
    error_type: string | null
    error_message: string | null
    traceback: string | null
  }>('SELECT seq, at, kind, worker_id, error_type, error_message, traceback FROM task_attempt WHERE task_id = ? ORDER BY seq', [taskId])
  return rows.map((row) => ({
    seq: row.seq,
    at: instant(row.at),
    kind: row.kind,
    workerId: row.worker_id,
    errorType: row.error_type,
    errorMessage: row.error_message,
    traceback: row.traceback,
  }))
}
