import { hostname } from 'node:os'
import type { Sql } from '../database/sql.js'
import { graceLeases, watchOf } from '../ledger/watched-workers.js'
import { beat, removeSilentWorkers, removeWorker } from '../ledger/workers.js'

/** Workers that come and go under ever new names, as in containers, are forgotten a day after they went. */
const SILENT_MS = 24 * 3_600_000

const identity = (watched: string) => ({ workerId: watched, host: hostname(), pid: process.pid, queues: [] })

/** Notes that a cluster is watched from now on, and gives its workers a lease's time to be heard. */
export async function beginSession(sql: Sql, watched: string, leaseUntil: number, now: number): Promise<void> {
  const last = await watchOf(sql, watched)
  await graceLeases(sql, watched, last?.beatAt ?? 0, leaseUntil)
  await removeWorker(sql, watched)
  await removeSilentWorkers(sql, now - SILENT_MS)
  await beat(sql, identity(watched), leaseUntil, now)
}

/** Notes that it is still watched, or, with `leaseUntil` of now, that this was the last of it. */
export function beatSession(sql: Sql, watched: string, leaseUntil: number, now: number): Promise<void> {
  return beat(sql, identity(watched), leaseUntil, now)
}
