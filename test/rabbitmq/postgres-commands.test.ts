import { RABBIT } from '../helpers/brokers.js'
import { POSTGRES, suitesOn } from '../helpers/databases.js'
import { COMMANDS } from './suites.js'

await suitesOn({ ledger: POSTGRES, broker: RABBIT }, COMMANDS)
