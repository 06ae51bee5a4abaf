import { POSTGRES, suitesOn } from '../helpers/databases.js'

await suitesOn({ ledger: POSTGRES }, ['watch/lives', 'watch/record', 'watch/heard', 'watch/follow', 'ledger/watched'])
