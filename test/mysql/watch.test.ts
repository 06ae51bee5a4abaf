import { MYSQL, suitesOn } from '../helpers/databases.js'

await suitesOn({ ledger: MYSQL }, ['watch/lives', 'watch/record', 'watch/heard', 'watch/follow'])
