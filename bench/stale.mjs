// The query of find-stale-tasks on a million finished rows, beside the query that needs no thought: every row that is neither finished nor recent.
import { Database } from '../dist/lib/database/database.js'
import { findStale } from '../dist/lib/ledger/stale.js'
import { FINAL_STATUSES } from '../dist/lib/task/status.js'
import { FIRST_AT, fillFinished, migratedFile, openRaw, withFolder } from './lib/ledger.mjs'
import { median, report } from './lib/pairs.mjs'

const ROWS = 1_000_000
const STALE = 1_000
const ROUNDS = 31
const TARGET_MS = 5

const now = FIRST_AT + 365 * 86_400_000
const filter = { now, cutoff: now - 3_600_000, limit: 1_000_000 }

async function measure(name, file, expected, targetMs) {
  const database = await Database.open(`sqlite:${file}`, 'read')
  const db = openRaw(file)
  const plain = db.prepare(
    `SELECT * FROM task_result WHERE status NOT IN (${FINAL_STATUSES.map(() => '?').join(', ')}) AND updated_at <= ? ORDER BY updated_at`,
  )
  const ours = []
  const raw = []
  for (let round = 0; round < ROUNDS; round++) {
    let from = performance.now()
    const found = (await findStale(database, filter)).length
    ours.push(performance.now() - from)
    from = performance.now()
    const foundRaw = plain.all(...FINAL_STATUSES, filter.cutoff).length
    raw.push(performance.now() - from)
    if (found !== expected || foundRaw !== expected) throw new Error(`expected ${expected} stale rows, got ${found} and ${foundRaw}`)
  }
  db.close()
  await database.close()
  const line = { name, unit: 'ms', ours: median(ours), raw: median(raw), ratio: median(ours) / median(raw) }
  return { ...line, target: targetMs ? `< ${targetMs} ms` : '', ok: !targetMs || line.ours < targetMs }
}

/** Rows that were published and never taken by a worker. */
function leaveUnclaimed(file) {
  const db = openRaw(file)
  db.prepare(
    `UPDATE task_result SET status = 'PENDING', finished_at = NULL, result = NULL, worker_id = NULL, result_expires_at = NULL
      WHERE id % (? / ?) = 1`,
  ).run(ROWS, STALE)
  db.exec('ANALYZE')
  db.close()
}

await withFolder(async (folder) => {
  const file = await migratedFile(folder, 'ledger.db')
  const db = openRaw(file)
  fillFinished(db, ROWS)
  db.close()
  const none = await measure('find stale, a million finished rows, none stale (raw: NOT IN)', file, 0, TARGET_MS)
  leaveUnclaimed(file)
  const some = await measure('find stale, the same, 1,000 stale', file, STALE, null)
  report([none, some])
})
