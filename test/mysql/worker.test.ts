import { MYSQL, suitesOn } from '../helpers/databases.js'

await suitesOn({ ledger: MYSQL }, ['worker/acknowledgement', 'worker/rate-limit', 'worker/together', 'crash/killed-worker'])
