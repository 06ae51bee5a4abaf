import { POSTGRES, suitesOn } from '../helpers/databases.js'
import { WATCH } from '../helpers/suites.js'

await suitesOn({ ledger: POSTGRES }, WATCH)
