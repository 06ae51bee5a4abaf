import { suitesOnPostgres } from '../helpers/databases.js'

await suitesOnPostgres([
  'worker/acknowledgement',
  'worker/outcome',
  'worker/rate-limit',
  'worker/reject',
  'worker/retry',
  'worker/revoke',
  'worker/stopping',
  'worker/shutdown',
  'worker/hooks',
  'worker/worker-lost',
  'worker/workflow-ends',
  'worker/workflow-groups',
  'worker/workflows',
  'app/canvas',
  'app/canvas-ends',
  'app/group-result',
  'app/result',
  'app/stories',
])
