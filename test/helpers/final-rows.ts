import assert from 'node:assert/strict'
import type { Database } from '../../src/lib/database/database.js'
import { FINAL_STATUSES } from '../../src/lib/task/status.js'
import { trigger } from './triggers.js'

/** From now on the ledger itself notes each change of a row that has ended. */
export async function watchFinalRows(database: Database): Promise<void> {
  await database.run('CREATE TABLE changed_after_end (task_id TEXT, status TEXT, changed_to TEXT)', [])
  const action = 'INSERT INTO changed_after_end VALUES (OLD.task_id, OLD.status, NEW.status)'
  const condition = 'OLD.finished_at IS NOT NULL'
  await trigger(database, { name: 'task_result_changed_after_end', when: 'AFTER UPDATE', table: 'task_result', condition, action })
}

/** No row was changed after its end, and a row has an end exactly when its status is final. */
export async function assertFinalIsFinal(database: Database): Promise<void> {
  assert.deepEqual(await database.all('SELECT * FROM changed_after_end', []), [], 'rows changed after their end')
  const wrong = await database.all(
    `SELECT task_id, status FROM task_result WHERE (finished_at IS NOT NULL) <> (${database.dialect.among('status')})`,
    [JSON.stringify(FINAL_STATUSES)],
  )
  assert.deepEqual(wrong, [], 'finished_at is set exactly when the status is final')
}
