import { RABBIT } from '../helpers/brokers.js'
import { POSTGRES, suitesOn } from '../helpers/databases.js'

await suitesOn({ ledger: POSTGRES, broker: RABBIT }, [
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
