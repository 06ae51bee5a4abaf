import { suitesOnPostgres } from '../helpers/databases.js'

await suitesOnPostgres([
  'ledger/moves',
  'ledger/record',
  'ledger/row',
  'ledger/attempts',
  'ledger/filter',
  'ledger/stale',
  'ledger/groups',
  'ledger/purge',
  'ledger/workers',
  'ledger/fix-json',
  'ledger/export',
  'ledger/arguments',
])
