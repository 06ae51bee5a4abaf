import { POSTGRES, suitesOn } from '../helpers/databases.js'

await suitesOn({ ledger: POSTGRES }, [
  'worker/acknowledgement',
  'worker/outcome',
  'worker/rate-limit',
  'worker/revoke',
  'worker/stopping',
  'worker/shutdown',
  'worker/worker-lost',
  'worker/workflow-ends',
  'worker/workflow-groups',
  'worker/workflows',
  'app/canvas',
  'app/canvas-ends',
  'app/result',
])
