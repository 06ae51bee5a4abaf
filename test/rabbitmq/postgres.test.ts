import { RABBIT } from '../helpers/brokers.js'
import { POSTGRES, suitesOn } from '../helpers/databases.js'

await suitesOn({ ledger: POSTGRES, broker: RABBIT }, [
  'worker/acknowledgement',
  'worker/rate-limit',
  'worker/retry',
  'worker/revoke',
  'worker/shutdown',
  'worker/stopping',
  'worker/worker-lost',
  'app/canvas',
  'app/canvas-ends',
  'app/result',
  'publish/publisher',
  'publish/canvas',
  'schedule/sender',
  'crash/killed-worker',
])
