import { POSTGRES, suitesOn } from '../helpers/databases.js'
import { GROUND, PUBLISHING } from '../helpers/suites.js'

await suitesOn({ ledger: POSTGRES }, [...GROUND, ...PUBLISHING])
