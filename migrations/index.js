import * as ledger from './0001_ledger.js'
import * as workflows from './0002_workflows.js'

/** Every migration in its order, by name. A released one is never changed. */
export const MIGRATIONS = {
  '0001_ledger': ledger,
  '0002_workflows': workflows,
}
