import { RABBIT } from '../helpers/brokers.js'
import { SQLITE, suitesOn } from '../helpers/databases.js'
import { APP } from './suites.js'

await suitesOn({ ledger: SQLITE, broker: RABBIT }, APP)
