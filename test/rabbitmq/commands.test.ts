import { RABBIT } from '../helpers/brokers.js'
import { SQLITE, suitesOn } from '../helpers/databases.js'
import { COMMANDS } from './suites.js'

await suitesOn({ ledger: SQLITE, broker: RABBIT }, COMMANDS)
