import { globs } from '../database/globs.js'
import { POSTGRES } from '../helpers/databases.js'
import { postgresSuite } from '../helpers/postgres.js'

postgresSuite(() => globs(POSTGRES))
