import { RABBIT } from '../helpers/brokers.js'
import { POSTGRES, suitesOn } from '../helpers/databases.js'

await suitesOn({ ledger: POSTGRES, broker: RABBIT }, [
  'cli/call',
  'cli/retry',
  'cli/revoke',
  'cli/send-scheduled',
  'cli/show-workflow',
  'cli/worker',
])
