import { RABBIT } from '../helpers/brokers.js'
import { POSTGRES, suitesOn } from '../helpers/databases.js'
import { BODIES, inFull, POOLS, WORKER } from '../helpers/suites.js'

await suitesOn({ ledger: POSTGRES, broker: RABBIT }, [...WORKER, ...inFull([...BODIES, ...POOLS])])
