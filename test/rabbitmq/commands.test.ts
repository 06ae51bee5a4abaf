import { RABBIT } from '../helpers/brokers.js'
import { SQLITE, suitesOn } from '../helpers/databases.js'

await suitesOn({ ledger: SQLITE, broker: RABBIT }, [
  'cli/call',
  'cli/retry',
  'cli/revoke',
  'cli/send-scheduled',
  'cli/show-workflow',
  'cli/worker',
])
