import { RABBIT } from '../helpers/brokers.js'
import { POSTGRES, suitesOn } from '../helpers/databases.js'
import { PROCESSES } from './suites.js'

await suitesOn({ ledger: POSTGRES, broker: RABBIT }, PROCESSES)
