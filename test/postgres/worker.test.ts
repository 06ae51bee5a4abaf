import { POSTGRES, suitesOn } from '../helpers/databases.js'
import { BODIES, inFull, POOLS, WORKER } from '../helpers/suites.js'

const WORKFLOWS = ['worker/workflow-ends', 'worker/workflow-groups', 'worker/workflows', 'canvas/launch', 'canvas/replacement']

await suitesOn({ ledger: POSTGRES }, [...WORKER, ...BODIES, ...WORKFLOWS, ...inFull([...POOLS, 'worker/workflow-agreement'])])
