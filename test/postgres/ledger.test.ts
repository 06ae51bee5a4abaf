import { LEDGER } from '../database/suites.js'
import { POSTGRES, suitesOn } from '../helpers/databases.js'

await suitesOn({ ledger: POSTGRES }, LEDGER)
