import { newTaskId } from '../../dist/lib/task/id.js'
import { openRaw } from './ledger.mjs'

/** About a hundred bytes, as most tasks have. */
export const ARGS = ['customer-000123@example.org', 'Your order has been shipped', { order: 40_117, items: 3, express: false }]

/** What the product writes, by the driver alone: the same rows, in the same tables with the same indexes, under ids of the same kind. */
export class RawLedger {
  constructor(file) {
    this.db = openRaw(file)
    const row =
      'task_id, task, args, kwargs, status, queue, exchange, routing_key, priority, retries, root_id, options, submitted_at, published_at, updated_at'
    this.insertRow = this.db.prepare(`INSERT INTO task_result (${row}) VALUES (?, ?, ?, ?, 'PENDING', ?, '', ?, 0, 0, ?, '{}', ?, ?, ?)`)
    this.insertMessage = this.db.prepare('INSERT INTO task_message (task_id, queue, priority, body) VALUES (?, ?, 0, ?)')
    this.claim = this.db.prepare(
      `UPDATE task_message SET held_until = ?, deliveries = deliveries + 1
        WHERE id IN (SELECT id FROM task_message WHERE queue = ? AND held_until IS NULL ORDER BY priority DESC, id LIMIT ?) RETURNING id, body`,
    )
    this.start = this.db.prepare(
      `UPDATE task_result SET status = 'STARTED', worker_id = ?, deliveries = 1, lease_until = ?, max_retries = 3, started_at = ?, updated_at = ?
        WHERE task_id = ? AND finished_at IS NULL`,
    )
    this.ack = this.db.prepare('DELETE FROM task_message WHERE id = ?')
    this.finish = this.db.prepare(
      `UPDATE task_result SET status = 'SUCCESS', result = ?, lease_until = NULL, updated_at = ?, finished_at = ?, result_expires_at = ?
        WHERE task_id = ? AND worker_id = ? AND finished_at IS NULL`,
    )
  }

  /** Row and message of one task. */
  publish() {
    const now = Date.now()
    const id = newTaskId(now)
    this.insertRow.run(id, 'noop', JSON.stringify(ARGS), '{}', 'default', 'default', id, now, now, now)
    this.insertMessage.run(id, 'default', JSON.stringify(message(id, now)))
  }

  /** Claims, starts, acks and finishes up to `limit` tasks in three commits, as a worker with that concurrency does. Returns how many. */
  execute(limit) {
    const claimed = this.commit(() =>
      this.claim.all(Date.now() + 30_000, 'default', limit).map(({ id, body }) => ({ held: id, ...JSON.parse(body) })),
    )
    this.commit(() => {
      for (const { id, held } of claimed) {
        const now = Date.now()
        this.start.run('worker-1', now + 30_000, now, now, id)
        this.ack.run(held)
      }
    })
    this.commit(() => {
      for (const { id } of claimed) {
        const now = Date.now()
        this.finish.run('true', now, now, now + 86_400_000, id, 'worker-1')
      }
    })
    return claimed.length
  }

  commit(work) {
    return this.db.transaction(work).immediate()
  }

  close() {
    this.db.close()
  }
}

/** A message as the product's own publish makes it, so that both sides write as many bytes and a worker of ours can take it. */
const message = (id, submittedAt) => ({
  id,
  task: 'noop',
  args: ARGS,
  kwargs: {},
  queue: 'default',
  exchange: '',
  routingKey: 'default',
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
  submittedAt,
})
