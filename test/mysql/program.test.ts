import { MYSQL, suitesOn } from '../helpers/databases.js'
import { GROUND, PUBLISHING } from '../helpers/suites.js'

await suitesOn({ ledger: MYSQL }, [...GROUND, ...PUBLISHING])
