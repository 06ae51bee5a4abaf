import { POSTGRES } from '../helpers/databases.js'
import { postgresSuite } from '../helpers/postgres.js'
import { plansOn } from '../ledger/server-plans.js'

/** A step of a plan, as EXPLAIN tells it. */
interface Step {
  readonly 'Node Type': string
  readonly 'Relation Name'?: string
  readonly 'Index Name'?: string
  readonly 'Index Cond'?: string
  readonly Plans?: readonly Step[]
}

const stepsOf = (step: Step): Step[] => [step, ...(step.Plans ?? []).flatMap(stepsOf)]

/** Indexes that hold nothing but open rows, copies, or held messages; and one that is counted along for as many as are to be kept. */
const SMALL =
  /^(task_result_(in_flight|unpublished|due|claimed|open|rescuable|expiring|retry_of|finished)|task_message_held|task_group_deadline)$/

/** Tables that stay short beside the ledger. */
const SHORT = ['task_worker', 'task_rate', 'task_group']

/** Whether a step goes over a table of many rows, or an index as long, from end to end. */
function isWholePass(step: Step): boolean {
  const { 'Node Type': type, 'Relation Name': table = '', 'Index Name': index } = step
  if (type === 'Seq Scan') return !SHORT.includes(table)
  return /^Index (Only )?Scan$/.test(type) && !step['Index Cond'] && !SMALL.test(index ?? '')
}

const told = ({ 'Node Type': type, 'Relation Name': table, 'Index Name': index, 'Index Cond': condition }: Step) =>
  [type, table, index, condition].filter(Boolean).join(' ')

postgresSuite(() => {
  plansOn<Step>({
    databases: POSTGRES,
    analyze: (w, table) => w.database.run(`ANALYZE ${table}`, []),
    async explain(sql, text, bindings) {
      const [answer] = await sql.all<{ 'QUERY PLAN': string }>(`EXPLAIN (FORMAT JSON) ${text}`, bindings)
      const [{ Plan }] = JSON.parse(answer?.['QUERY PLAN'] ?? '') as [{ Plan: Step }]
      return stepsOf(Plan)
    },
    isWholePass,
    isTableScan: (step) => step['Node Type'] === 'Seq Scan',
    indexOf: (step) => (step['Relation Name'] === 'task_result' ? (step['Index Name'] ?? null) : null),
    told,
    ends: ['countTasks of everything'], // once it has counted as many as were asked for
  })
})
