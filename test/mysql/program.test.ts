import { PROGRAM } from '../database/suites.js'
import { MYSQL, suitesOn } from '../helpers/databases.js'

await suitesOn({ ledger: MYSQL }, PROGRAM)
