import type { CommandMap } from '../lib/cli/plugin.js'

/** Every command, in the order help lists them. A file is imported when its command runs. */
export const commands: CommandMap = {
  'find-stale-tasks': () => import('./find-stale-tasks.js'),
  'find-stale-scheduled': () => import('./find-stale-scheduled.js'),
  retry: () => import('./retry.js'),
  'send-scheduled': () => import('./send-scheduled.js'),
  export: () => import('./export.js'),
  list: () => import('./list.js'),
  show: () => import('./show.js'),
  call: () => import('./call.js'),
  worker: () => import('./worker.js'),
  'watch-celery': () => import('./watch-celery.js'),
  revoke: () => import('./revoke.js'),
  purge: () => import('./purge.js'),
  'fix-json': () => import('./fix-json.js'),
  migrate: () => import('./migrate.js'),
  'migrate:status': () => import('./migrate/status.js'),
}
