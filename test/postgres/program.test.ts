import { suitesOnPostgres } from '../helpers/databases.js'

await suitesOnPostgres([
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
