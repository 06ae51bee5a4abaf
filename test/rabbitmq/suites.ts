/** What is run with RabbitMQ over each kind of ledger. */
export const WORKER = [
  'worker/acknowledgement',
  'worker/hooks',
  'worker/limits',
  'worker/outcome',
  'worker/rate-limit',
  'worker/reject',
  'worker/retry',
  'worker/revoke',
  'worker/shutdown',
  'worker/stopping',
  'worker/together',
  'worker/worker-lost',
]

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
  'publish/publisher',
  'publish/resend',
  'publish/canvas',
  'schedule/sender',
]

export const COMMANDS = ['cli/call', 'cli/retry', 'cli/revoke', 'cli/send-scheduled', 'cli/show-workflow', 'cli/worker']

export const PROCESSES = ['crash/killed-worker', 'crash/many-processes', 'crash/stories', 'crash/workflows']
