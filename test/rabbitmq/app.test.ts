import { RABBIT } from '../helpers/brokers.js'
import { SQLITE, suitesOn } from '../helpers/databases.js'

await suitesOn({ ledger: SQLITE, broker: RABBIT }, [
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
