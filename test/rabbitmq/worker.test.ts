import { RABBIT } from '../helpers/brokers.js'
import { SQLITE, suitesOn } from '../helpers/databases.js'
import { inFull, POOLS, WORKER } from '../helpers/suites.js'

await suitesOn({ ledger: SQLITE, broker: RABBIT }, [...WORKER, ...inFull(POOLS)])
