import { RABBIT } from '../helpers/brokers.js'
import { POSTGRES, suitesOn } from '../helpers/databases.js'
import { COMMANDS, inFull, SENDING, UPKEEP } from '../helpers/suites.js'

await suitesOn({ ledger: POSTGRES, broker: RABBIT }, [...SENDING, ...inFull([...COMMANDS, ...UPKEEP])])
