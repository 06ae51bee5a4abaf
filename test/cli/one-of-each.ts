import { HOUR, type Site } from '../helpers/site.js'

export const status = async (site: Site, id: string) => (await site.app.tasks.get(id))?.status
export const statuses = async (site: Site, ids: readonly string[]) => Promise.all(ids.map((id) => status(site, id)))

/** One task in each state that a revoke tells apart. */
export async function putOneOfEach(site: Site): Promise<void> {
  const now = Date.now()
  const running = { worker_id: 'w', started_at: now - HOUR, lease_until: now + HOUR }
  await site.put(now - 5 * HOUR, { task_id: 'queued' })
  await site.put(now - 4 * HOUR, { task_id: 'scheduled', status: 'SCHEDULED', eta: now + HOUR })
  await site.put(now - 3 * HOUR, {
    task_id: 'retrying',
    status: 'RETRY',
    eta: now + HOUR,
    published_at: null,
    task: 'audit',
    queue: 'slow',
    routing_key: 'slow',
  })
  await site.put(now - 2 * HOUR, { task_id: 'running', status: 'STARTED', ...running })
  await site.put(now - 2 * HOUR, { task_id: 'uploading', status: 'UPLOADING', ...running })
  await site.put(now - HOUR, { task_id: 'done', status: 'SUCCESS' })
}

export const OPEN = ['queued', 'scheduled', 'retrying']
