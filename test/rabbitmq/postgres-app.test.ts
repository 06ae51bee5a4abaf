import { RABBIT } from '../helpers/brokers.js'
import { POSTGRES, suitesOn } from '../helpers/databases.js'

await suitesOn({ ledger: POSTGRES, broker: RABBIT }, [
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
])
