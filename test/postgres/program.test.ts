import { POSTGRES, suitesOn } from '../helpers/databases.js'

await suitesOn({ ledger: POSTGRES }, [
  'database/database',
  'database/migrate',
  'broker/sql-broker',
  'publish/publisher',
  'publish/resend',
  'publish/canvas',
  'schedule/sender',
  'schedule/deadlines',
  'schedule/crash-windows',
])
