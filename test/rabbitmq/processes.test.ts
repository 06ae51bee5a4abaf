import { RABBIT } from '../helpers/brokers.js'
import { SQLITE, suitesOn } from '../helpers/databases.js'
import { inFull, PROCESSES, SCHEDULED } from '../helpers/suites.js'

await suitesOn({ ledger: SQLITE, broker: RABBIT }, [...PROCESSES, ...inFull(SCHEDULED)])
