import { MYSQL, suitesOn } from '../helpers/databases.js'
import { WATCH } from '../helpers/suites.js'

await suitesOn({ ledger: MYSQL }, WATCH)
