import { RABBIT } from '../helpers/brokers.js'
import { SQLITE, suitesOn } from '../helpers/databases.js'
import { BODIES, inFull, POOLS, WORKER } from '../helpers/suites.js'

await suitesOn({ ledger: SQLITE, broker: RABBIT }, [...WORKER, ...BODIES, ...inFull(POOLS)])
