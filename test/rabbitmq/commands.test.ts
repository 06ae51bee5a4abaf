import { RABBIT } from '../helpers/brokers.js'
import { SQLITE, suitesOn } from '../helpers/databases.js'
import { COMMANDS, inFull, SENDING, UPKEEP } from '../helpers/suites.js'

await suitesOn({ ledger: SQLITE, broker: RABBIT }, [...COMMANDS, ...SENDING, ...inFull(UPKEEP)])
