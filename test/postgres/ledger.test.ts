import { POSTGRES, suitesOn } from '../helpers/databases.js'

await suitesOn({ ledger: POSTGRES }, [
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
  'ledger/celery-outbox',
  'ledger/arguments',
])
