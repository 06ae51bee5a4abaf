import { POSTGRES, suitesOn } from '../helpers/databases.js'
import { COMMANDS, inFull, UPKEEP } from '../helpers/suites.js'

await suitesOn({ ledger: POSTGRES }, [...COMMANDS, ...inFull(UPKEEP)])
