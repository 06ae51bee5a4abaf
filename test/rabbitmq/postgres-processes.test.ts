import { RABBIT } from '../helpers/brokers.js'
import { POSTGRES, suitesOn } from '../helpers/databases.js'
import { inFull, PROCESSES, SCHEDULED } from '../helpers/suites.js'

await suitesOn({ ledger: POSTGRES, broker: RABBIT }, [...PROCESSES, ...inFull(SCHEDULED)])
