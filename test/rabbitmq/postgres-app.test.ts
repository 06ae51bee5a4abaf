import { RABBIT } from '../helpers/brokers.js'
import { POSTGRES, suitesOn } from '../helpers/databases.js'
import { APP, PUBLISHING } from '../helpers/suites.js'

await suitesOn({ ledger: POSTGRES, broker: RABBIT }, [...APP, ...PUBLISHING])
