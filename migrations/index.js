import * as ledger from './0001_ledger.js'
import * as workflows from './0002_workflows.js'
import * as celeryResults from './0003_celery_results.js'

/** Every migration in its order, by name. A released one is never changed. */
export const MIGRATIONS = {
  '0001_ledger': ledger,
  '0002_workflows': workflows,
  '0003_celery_results': celeryResults,
}
