import { HOUR, type Site } from '../helpers/site.js'

export const FAILED = {
  status: 'FAILURE',
  error_type: 'SmtpError',
  error_message: 'no route',
  traceback: 'SmtpError: no route\n    at send',
}

export interface Item {
  readonly taskId: string
  readonly newTaskId: string | null
  readonly error: string | null
}

export const sentIds = ({ items }: { items: Item[] }): string[] =>
  items.filter((item) => item.newTaskId !== null).map((item) => item.taskId)

export const copiesOf = (site: Site, taskId: string) =>
  site.database.all<{ task_id: string }>('SELECT task_id FROM task_result WHERE retry_of = ? ORDER BY id', [taskId])

export const rows = async (site: Site): Promise<number> => (await site.database.all('SELECT 1 FROM task_result', [])).length

/** Failed tasks of several kinds, an hour old and older, and one that is lost. */
export async function putFailures(site: Site): Promise<void> {
  const now = Date.now()
  await site.put(now - 4 * HOUR, { task_id: 'a', task: 'mail.send', ...FAILED })
  await site.put(now - 3 * HOUR, { task_id: 'b', task: 'mail.receive', ...FAILED, queue: 'slow', routing_key: 'slow' })
  await site.put(now - 2 * HOUR, { task_id: 'c', task: 'audit', ...FAILED, error_type: 'TypeError' })
  await site.put(now - 2 * HOUR, { task_id: 'revoked', task: 'audit', status: 'REVOKED' })
  await site.put(now - 2 * HOUR, { task_id: 'lost', status: 'STARTED', worker_id: 'w', lease_until: now - HOUR })
  await site.put(now - 2 * HOUR, { task_id: 'done', status: 'SUCCESS' })
}
