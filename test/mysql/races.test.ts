import { races } from '../database/races.js'
import { MYSQL } from '../helpers/databases.js'
import { mysqlSuite } from '../helpers/mysql.js'

mysqlSuite(() => races(MYSQL))
