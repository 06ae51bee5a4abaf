import { POSTGRES, suitesOn } from '../helpers/databases.js'

await suitesOn(POSTGRES, ['crash/many-processes', 'crash/killed-worker'])
