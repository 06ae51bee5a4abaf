import { races } from '../database/races.js'
import { POSTGRES } from '../helpers/databases.js'
import { postgresSuite } from '../helpers/postgres.js'

postgresSuite(() => races(POSTGRES))
