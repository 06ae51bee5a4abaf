/** Suites that run on several engines, by the names that `suitesOn` takes. This one: what a ledger's tables are read and written by. */
export const LEDGER = [
  'ledger/moves',
  'ledger/record',
  'ledger/row',
  'ledger/attempts',
  'ledger/filter',
  'ledger/stale',
  'ledger/groups',
  'ledger/purge',
  'ledger/workers',
  'ledger/fix-json',
  'ledger/export',
  'ledger/celery-outbox',
  'ledger/arguments',
  'ledger/watched',
]

/** What a ledger and the embedded broker are made of. */
export const GROUND = ['database/database', 'database/migrate', 'broker/sql-broker', 'schedule/deadlines']

export const PUBLISHING = ['publish/publisher', 'publish/resend', 'publish/canvas', 'schedule/sender']

export const WATCH = ['watch/lives', 'watch/record', 'watch/heard', 'watch/follow']

/** What reads, cleans and repairs a ledger, and makes one. */
export const UPKEEP = [
  'cli/export',
  'cli/find-stale-scheduled',
  'cli/find-stale-tasks',
  'cli/fix-json',
  'cli/list',
  'cli/migrate',
  'cli/purge',
  'cli/retry-selection',
  'cli/revoke-selection',
  'cli/show',
]

/** What becomes of a task and its message, whatever happens to its worker. */
export const WORKER = [
  'worker/acknowledgement',
  'worker/reject',
  'worker/retry',
  'worker/shutdown',
  'worker/stopping',
  'worker/together',
  'worker/worker-lost',
]

/** What a worker makes of a task's body, and of what is asked of it. */
export const BODIES = ['worker/hooks', 'worker/limits', 'worker/outcome', 'worker/rate-limit', 'worker/revoke']

export const POOLS = ['worker/pool-child', 'worker/process-pool']

export const APP = [
  'app/canvas',
  'app/canvas-ends',
  'app/canvas-processes',
  'app/group-result',
  'app/result',
  'app/signature',
  'app/stories',
  'app/task',
  'app/watched',
]

/** What works on what is to be sent. */
export const SENDING = ['cli/send-scheduled', 'cli/worker']

export const COMMANDS = ['cli/call', 'cli/retry', 'cli/revoke', 'cli/show-workflow']

export const PROCESSES = ['crash/killed-worker', 'crash/many-processes', 'crash/stories', 'crash/workflows']

export const SCHEDULED = ['schedule/crash-windows', 'schedule/many-scheduled']

/** What takes long and is seldom another on an engine is run on it only if `TEST_ENGINES=all`. */
export const inFull = <T>(all: readonly T[]): readonly T[] => (process.env['TEST_ENGINES'] === 'all' ? all : [])
