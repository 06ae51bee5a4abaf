/** What a ledger's tables are read and written by. */
export const LEDGER = [
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
  'ledger/watched',
]

/** What publishes and sends. */
export const PROGRAM = [
  'database/database',
  'database/migrate',
  'broker/sql-broker',
  'publish/publisher',
  'publish/resend',
  'publish/canvas',
  'schedule/sender',
  'schedule/deadlines',
]

export const WATCH = ['watch/lives', 'watch/record', 'watch/heard', 'watch/follow']
