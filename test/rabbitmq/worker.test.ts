import { RABBIT } from '../helpers/brokers.js'
import { SQLITE, suitesOn } from '../helpers/databases.js'

await suitesOn({ ledger: SQLITE, broker: RABBIT }, [
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
])
