import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import BetterSqlite from 'better-sqlite3'
import { Database } from '../../dist/lib/database/database.js'
import { migrateTo } from '../../dist/lib/database/migrate.js'

/** Runs `use` with a folder of its own, which is gone afterwards. */
export async function withFolder(use) {
  const folder = mkdtempSync(join(tmpdir(), 'taskledger-bench-'))
  try {
    return await use(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** A new file with the product's tables and indexes; both sides of every comparison begin with one. */
export async function migratedFile(folder, name) {
  const file = join(folder, name)
  const database = await Database.open(`sqlite:${file}`, 'create')
  await migrateTo(database)
  await database.close()
  return file
}

/** The driver by itself, with the settings the product opens a file with. */
export function openRaw(file) {
  const db = new BetterSqlite(file)
  db.pragma('journal_mode = WAL')
  db.pragma('synchronous = FULL')
  db.pragma('foreign_keys = ON')
  return db
}

/** When the first generated row was submitted; the others follow 10 ms apart. */
export const FIRST_AT = Date.UTC(2026, 0, 1)

/** `rows` finished tasks: one in fifty failed with a traceback, the others have a small result. */
export function fillFinished(db, rows) {
  db.prepare(
    `INSERT INTO task_result (task_id, task, args, kwargs, status, result, error_type, error_message, traceback, queue, exchange, routing_key, priority,
       retries, max_retries, deliveries, worker_id, root_id, options, submitted_at, published_at, started_at, updated_at, finished_at, result_expires_at)
     WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < @rows),
       task(n, id, at, failed) AS (SELECT n, printf('%08x-%04x-7000-8000-%012x', n, n % 65536, n), @first + n * 10, n % 50 = 0 FROM counted)
     SELECT id, 'shop.mail.send_' || (n % 20), json_array('customer' || n || '@example.org', n, json_object('order', n * 7, 'urgent', json('false'))), '{}',
       iif(failed, 'FAILURE', 'SUCCESS'), iif(failed, NULL, json_object('delivered', json('true'), 'relay', 'mx' || (n % 5))),
       iif(failed, 'TimeoutError', NULL), iif(failed, 'no answer from "mx" after 30 s', NULL),
       iif(failed, 'TimeoutError: no answer' || replace(printf('%12s', ''), ' ', char(10) || '    at send (file:///srv/app/mail.js:41:13)'), NULL),
       'mail', '', 'mail', 0, 0, 3, 1, '5e0c5d2e-9d0c-4a56-8f0a-0d1f4f0e8a11', id, '{}', at, at, at + 5, at + 40, at + 40, at + 86400040
     FROM task`,
  ).run({ rows, first: FIRST_AT })
  db.exec('ANALYZE')
  db.pragma('wal_checkpoint(TRUNCATE)')
}
