import { MYSQL, suitesOn } from '../helpers/databases.js'

await suitesOn(MYSQL, ['watch/lives', 'watch/record'])
