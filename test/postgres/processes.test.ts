import { POSTGRES, suitesOn } from '../helpers/databases.js'
import { PROCESSES, SCHEDULED } from '../helpers/suites.js'

await suitesOn({ ledger: POSTGRES }, [...PROCESSES, ...SCHEDULED])
