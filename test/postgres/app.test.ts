import { POSTGRES, suitesOn } from '../helpers/databases.js'
import { APP } from '../helpers/suites.js'

await suitesOn({ ledger: POSTGRES }, [...APP, 'app/exchange', 'app/lookout', 'model/ledger'])
