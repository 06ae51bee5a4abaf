import { MYSQL, suitesOn } from '../helpers/databases.js'
import { LEDGER } from '../helpers/suites.js'

await suitesOn({ ledger: MYSQL }, LEDGER)
