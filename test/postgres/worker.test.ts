import { POSTGRES, suitesOn } from '../helpers/databases.js'

await suitesOn({ ledger: POSTGRES }, [
  'worker/acknowledgement',
  'worker/hooks',
  'worker/limits',
  'worker/outcome',
  'worker/rate-limit',
  'worker/reject',
  'worker/retry',
  'worker/revoke',
  'worker/stopping',
  'worker/shutdown',
  'worker/together',
  'worker/worker-lost',
  'worker/workflow-ends',
  'worker/workflow-groups',
  'worker/workflows',
  'app/canvas',
  'app/canvas-ends',
  'app/result',
  'app/task',
])
