import { RABBIT } from '../helpers/brokers.js'
import { SQLITE, suitesOn } from '../helpers/databases.js'
import { PROCESSES } from './suites.js'

await suitesOn({ ledger: SQLITE, broker: RABBIT }, PROCESSES)
