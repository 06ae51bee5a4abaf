import { change, lock } from '../../database/change.js'
import { runEach, type Sql } from '../../database/sql.js'
import type { TaskMessage } from '../../task/message.js'

/** A row of task_message. It is deleted on ack, so the table holds only what is waiting or in a worker's hands. */
export interface HeldMessage {
  readonly id: number
  readonly task_id: string
  readonly body: string
  readonly deliveries: number
}

/** @param heldUntil the eta of a message that must wait; null: ready at once */
export async function insertMessage(sql: Sql, message: TaskMessage, heldUntil: number | null): Promise<void> {
  await sql.run('INSERT INTO task_message (task_id, queue, priority, body, held_until) VALUES (?, ?, ?, ?, ?)', [
    message.id,
    message.queue,
    message.priority,
    JSON.stringify(message),
    heldUntil,
  ])
}

/** Makes ready what was held until now: its eta has come, or its holder's lease has run out. */
export async function releaseHeld(sql: Sql, now: number): Promise<number> {
  const past = { table: 'task_message', key: 'id', where: 'held_until IS NOT NULL AND held_until <= ?', index: 'held', bindings: [now] }
  // a holder that is just acking or extending has it: it is passed over, not waited for
  return change(sql, sql.dialect.claimed ? { ...past, first: '' } : past, { set: 'held_until = NULL', bindings: [] })
}

/**
 * Ready messages of one queue, highest priority first, then oldest. They are this commit's: no other one claims them until it has ended.
 */
export async function claimReady(sql: Sql, queue: string, limit: number): Promise<HeldMessage[]> {
  const ready = {
    table: 'task_message',
    key: 'id',
    where: 'queue = ? AND held_until IS NULL',
    index: 'ready',
    first: 'ORDER BY priority DESC, id LIMIT ?',
    bindings: [queue, limit],
  }
  const rows = await lock<HeldMessage & { readonly priority: number }>(sql, ready, 'id, task_id, body, deliveries, priority')
  return rows.sort((a, b) => b.priority - a.priority || a.id - b.id)
}

/** Gives messages that this commit has claimed to a holder. `deliveries` grows each time, and is what tells one holder from the next. */
export async function holdClaimed(sql: Sql, ids: readonly number[], heldUntil: number): Promise<void> {
  if (ids.length === 0) return
  const these = sql.dialect.amongNumbers('id')
  await sql.run(`UPDATE task_message SET held_until = ?, deliveries = deliveries + 1 WHERE ${these}`, [heldUntil, JSON.stringify(ids)])
}

export async function deleteClaimed(sql: Sql, ids: readonly number[]): Promise<void> {
  if (ids.length > 0) await sql.run(`DELETE FROM task_message WHERE ${sql.dialect.amongNumbers('id')}`, [JSON.stringify(ids)])
}

const DELETE_HELD = 'DELETE FROM task_message WHERE id = ? AND deliveries = ?'

export async function deleteHeld(sql: Sql, id: number, deliveries: number): Promise<boolean> {
  return (await sql.run(DELETE_HELD, [id, deliveries])) === 1
}

/** For each, whether it was there. */
export async function deleteAllHeld(sql: Sql, all: readonly Pick<HeldMessage, 'id' | 'deliveries'>[]): Promise<boolean[]> {
  const many = all.map(({ id, deliveries }) => [id, deliveries])
  return (await runEach(sql, DELETE_HELD, many)).map((deleted) => deleted === 1)
}

export async function deleteMessages(sql: Sql, taskIds: readonly string[]): Promise<void> {
  await sql.run(`DELETE FROM task_message WHERE ${sql.dialect.among('task_id')}`, [JSON.stringify(taskIds)])
}

export async function setHeld(sql: Sql, id: number, deliveries: number, heldUntil: number | null): Promise<boolean> {
  return (
    (await sql.run('UPDATE task_message SET held_until = ? WHERE id = ? AND deliveries = ? AND held_until IS NOT NULL', [
      heldUntil,
      id,
      deliveries,
    ])) === 1
  )
}

/** Whether `claimMessages` or `releaseHeld` would find something. Reads only, so an idle worker never takes the write lock. */
export async function anythingReady(sql: Sql, queues: readonly string[], now: number): Promise<boolean> {
  const rows = await sql.all(
    `SELECT 1 FROM task_message WHERE held_until IS NOT NULL AND held_until <= ?
      UNION ALL SELECT 1 FROM ${sql.dialect.elements('q')} WHERE EXISTS (SELECT 1 FROM task_message WHERE queue = q.value AND held_until IS NULL) LIMIT 1`,
    [now, JSON.stringify(queues)],
  )
  return rows.length > 0
}

export async function hasMessage(sql: Sql, taskId: string): Promise<boolean> {
  return (await sql.all('SELECT 1 FROM task_message WHERE task_id = ? LIMIT 1', [taskId])).length > 0
}
