import { POSTGRES, suitesOn } from '../helpers/databases.js'
import { LEDGER } from '../helpers/suites.js'

await suitesOn({ ledger: POSTGRES }, LEDGER)
