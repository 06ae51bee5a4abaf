import { globs } from '../database/globs.js'
import { MYSQL } from '../helpers/databases.js'
import { mysqlSuite } from '../helpers/mysql.js'

mysqlSuite(() => globs(MYSQL))
