import { PROGRAM } from '../database/suites.js'
import { POSTGRES, suitesOn } from '../helpers/databases.js'

await suitesOn({ ledger: POSTGRES }, [...PROGRAM, 'schedule/crash-windows'])
