import { MYSQL, suitesOn } from '../helpers/databases.js'

await suitesOn({ ledger: MYSQL }, [
  'ledger/moves',
  'ledger/record',
  'ledger/attempts',
  'ledger/filter',
  'ledger/stale',
  'ledger/groups',
  'ledger/purge',
  'ledger/workers',
  'ledger/fix-json',
  'ledger/export',
  'ledger/celery-outbox',
  'ledger/watched',
])
