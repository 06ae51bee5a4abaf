import { MYSQL } from '../helpers/databases.js'
import { mysqlSuite } from '../helpers/mysql.js'
import { plansOn } from '../ledger/server-plans.js'

/** A line of EXPLAIN: how one table of a statement is read. */
interface Step {
  readonly select_type: string
  readonly table: string | null
  readonly type: string | null
  readonly key: string | null
  readonly Extra: string | null
}

/** The tables of many rows, by their names and by what statements call them. */
const LARGE = ['task_result', 'task_message', 'task_attempt', 'task_group_member', 'r', 'm', 'copy']

/** Whether a step goes over a table of many rows, or an index of it, from end to end; an INSERT names its table, and reads nothing of it. */
const isWholePass = ({ select_type, table, type }: Step): boolean =>
  select_type !== 'INSERT' && LARGE.includes(table ?? '') && (type === 'ALL' || type === 'index')

const told = ({ table, type, key, Extra }: Step) => [table, type, key, Extra].filter(Boolean).join(' ')

mysqlSuite(() => {
  plansOn<Step>({
    databases: MYSQL,
    analyze: (w, table) => w.database.all(`ANALYZE TABLE ${table}`, []),
    explain: (sql, text, bindings) => sql.all<Step>(`EXPLAIN ${text}`, bindings),
    isWholePass,
    isTableScan: (step) => isWholePass(step) && step.type === 'ALL',
    indexOf: ({ table, key }) => (table === 'task_result' ? key : null),
    told,
    isShort: (text) => text.startsWith('DELETE FROM task_attempt'), // with 500 tasks among these few lines
  })
})
