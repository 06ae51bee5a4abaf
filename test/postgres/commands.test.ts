import { POSTGRES, suitesOn } from '../helpers/databases.js'
import { COMMANDS, inFull, SENDING, UPKEEP } from '../helpers/suites.js'

await suitesOn({ ledger: POSTGRES }, [...COMMANDS, ...SENDING, ...inFull(UPKEEP)])
