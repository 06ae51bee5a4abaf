import { RABBIT } from '../helpers/brokers.js'
import { SQLITE, suitesOn } from '../helpers/databases.js'

await suitesOn({ ledger: SQLITE, broker: RABBIT }, ['crash/killed-worker', 'crash/many-processes', 'crash/stories', 'crash/workflows'])
