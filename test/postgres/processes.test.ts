import { POSTGRES, suitesOn } from '../helpers/databases.js'

await suitesOn({ ledger: POSTGRES }, ['crash/many-processes', 'crash/killed-worker'])
