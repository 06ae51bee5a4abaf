import { RABBIT } from '../helpers/brokers.js'
import { SQLITE, suitesOn } from '../helpers/databases.js'
import { APP, PUBLISHING } from '../helpers/suites.js'

await suitesOn({ ledger: SQLITE, broker: RABBIT }, [...APP, ...PUBLISHING])
