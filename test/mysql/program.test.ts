import { MYSQL, suitesOn } from '../helpers/databases.js'

await suitesOn({ ledger: MYSQL }, [
  'database/database',
  'database/migrate',
  'broker/sql-broker',
  'publish/publisher',
  'schedule/sender',
  'schedule/deadlines',
])
