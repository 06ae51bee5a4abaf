import type { Dialect } from '../database/dialect.js'
import type { Sql } from '../database/sql.js'

/** The cluster whose events change a row, as rows name it; null: no watch has written it or heard of it, or a worker of ours has it. */
export const clusterOf = ({ field }: Dialect): string =>
  `CASE WHEN deliveries = 0 THEN coalesce(${field('options', 'watched')}, ${field('options', 'heardFrom')}) END`

/** A worker of another program, from the start of its process on. */
export interface Life {
  /** Its node name, such as `celery@host`. */
  readonly workerId: string
  readonly pid: number
  /** By the worker's own clock, as are the instants at which it starts tasks. */
  readonly since: number
  /** Whether it is surely a new one, although it may have the pid of the one before. */
  readonly begun: boolean
}

/** Says that a worker is alive until `leaseUntil`. Another pid under its name is another life. */
export async function beatOfLife(sql: Sql, { workerId, pid, since, begun }: Life, leaseUntil: number, now: number): Promise<void> {
  const { upsert, excluded } = sql.dialect
  // the start comes first: to MySQL, what is assigned before has its new value already
  await sql.run(
    `INSERT INTO task_worker (worker_id, host, pid, queues, started_at, beat_at, lease_until) VALUES (?, ?, ?, '[]', ?, ?, ?)
     ${upsert('worker_id')}
       started_at = CASE WHEN task_worker.pid <> ${excluded('pid')} OR ? = 1 OR ${excluded('started_at')} < task_worker.started_at
         THEN ${excluded('started_at')} ELSE task_worker.started_at END,
       beat_at = ${excluded('beat_at')}, lease_until = ${excluded('lease_until')}, pid = ${excluded('pid')}`,
    [workerId, workerId.slice(workerId.indexOf('@') + 1), pid, since, now, leaseUntil, begun ? 1 : 0],
  )
}

/** The tasks that these workers have started, in the lives they have now, live as long as they do. */
export async function renewLeases(sql: Sql, workerIds: readonly string[]): Promise<number> {
  const worker = (column: string) => `(SELECT w.${column} FROM task_worker AS w WHERE w.worker_id = task_result.worker_id)`
  return sql.run(
    `UPDATE task_result SET lease_until = ${worker('lease_until')}
      WHERE finished_at IS NULL AND status = 'STARTED' AND ${sql.dialect.among('worker_id')} AND started_at >= ${worker('started_at')}`,
    [JSON.stringify(workerIds)],
  )
}

/** What a worker started before its present life is lost from now on. */
export async function endOldLeases(sql: Sql, workerId: string, now: number): Promise<number> {
  return sql.run(
    `UPDATE task_result SET lease_until = ? WHERE finished_at IS NULL AND status = 'STARTED' AND worker_id = ? AND lease_until > ?
        AND started_at < (SELECT w.started_at FROM task_worker AS w WHERE w.worker_id = task_result.worker_id)`,
    [now, workerId, now],
  )
}

/** A worker said goodbye: whatever it has not ended is lost from now on. */
export async function endLife(sql: Sql, workerId: string, now: number): Promise<void> {
  await sql.run('UPDATE task_worker SET lease_until = ? WHERE worker_id = ? AND lease_until > ?', [now, workerId, now])
  await sql.run(
    "UPDATE task_result SET lease_until = ? WHERE finished_at IS NULL AND status = 'STARTED' AND worker_id = ? AND lease_until > ?",
    [now, workerId, now],
  )
}

/** Since when, and until when, a cluster has been watched without a gap; null: it never was, or that is long ago. */
export async function watchOf(
  sql: Sql,
  watched: string,
): Promise<{ readonly since: number; readonly beatAt: number; readonly leaseUntil: number } | null> {
  const [row] = await sql.all<{ started_at: number; beat_at: number; lease_until: number }>(
    'SELECT started_at, beat_at, lease_until FROM task_worker WHERE worker_id = ?',
    [watched],
  )
  return row ? { since: row.started_at, beatAt: row.beat_at, leaseUntil: row.lease_until } : null
}

/** Gives workers until `leaseUntil` to be heard by a watch that begins. What was lost when the last one ended, at `lastBeat`, stays lost. */
export async function graceLeases(sql: Sql, watched: string, lastBeat: number, leaseUntil: number): Promise<number> {
  return sql.run(
    `UPDATE task_result SET lease_until = ? WHERE finished_at IS NULL AND status = 'STARTED' AND lease_until > ?
        AND ${clusterOf(sql.dialect)} = ?`,
    [leaseUntil, lastBeat, watched],
  )
}
