import type { Sql } from '../database/sql.js'

export interface WorkerIdentity {
  /** Random for each start, so that a restarted worker is never taken for its former self. */
  readonly workerId: string
  readonly host: string
  readonly pid: number
  readonly queues: readonly string[]
}

/** Says that a worker is alive until `leaseUntil`, whether for the first time or again. */
export async function beat(sql: Sql, worker: WorkerIdentity, leaseUntil: number, now: number): Promise<void> {
  const { upsert, excluded } = sql.dialect
  await sql.run(
    `INSERT INTO task_worker (worker_id, host, pid, queues, started_at, beat_at, lease_until) VALUES (?, ?, ?, ?, ?, ?, ?)
     ${upsert('worker_id')} beat_at = ${excluded('beat_at')}, lease_until = ${excluded('lease_until')}`,
    [worker.workerId, worker.host, worker.pid, JSON.stringify(worker.queues), now, now, leaseUntil],
  )
}

/** An orderly stop leaves no worker row; one that is left with its lease run out was lost. */
export async function removeWorker(sql: Sql, workerId: string): Promise<void> {
  await sql.run('DELETE FROM task_worker WHERE worker_id = ?', [workerId])
}

/** Forgets workers that have been silent since `cutoff`. */
export async function removeSilentWorkers(sql: Sql, cutoff: number): Promise<number> {
  return sql.run('DELETE FROM task_worker WHERE lease_until <= ?', [cutoff])
}
