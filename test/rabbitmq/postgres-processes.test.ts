import { RABBIT } from '../helpers/brokers.js'
import { POSTGRES, suitesOn } from '../helpers/databases.js'

await suitesOn({ ledger: POSTGRES, broker: RABBIT }, ['crash/killed-worker', 'crash/many-processes', 'crash/stories', 'crash/workflows'])
