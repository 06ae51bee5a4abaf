import assert from 'node:assert/strict'
import type { Binding, Sql } from '../../src/lib/database/sql.js'
import { MYSQL } from '../helpers/databases.js'
import { mysqlSuite } from '../helpers/mysql.js'
import { openWorld, type World } from '../helpers/world.js'
import { generating } from '../ledger/many-rows.js'
import { type Call, DUE, EITHER, INDEXED, PAGED } from '../ledger/queries.js'

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

/** Runs what a query sends, after it has asked the server how it will do it. */
class Recorder implements Sql {
  readonly steps: Step[] = []
  readonly faults: string[] = []

  constructor(private readonly sql: Sql) {}

  get dialect() {
    return this.sql.dialect
  }

  async all<Row>(text: string, bindings: readonly Binding[]): Promise<Row[]> {
    await this.explain(text, bindings)
    return this.sql.all<Row>(text, bindings)
  }

  async run(text: string, bindings: readonly Binding[]): Promise<number> {
    await this.explain(text, bindings)
    return this.sql.run(text, bindings)
  }

  private async explain(text: string, bindings: readonly Binding[]): Promise<void> {
    const steps = await this.sql.all<Step>(`EXPLAIN ${text}`, bindings)
    this.steps.push(...steps)
    if (text.startsWith('DELETE FROM task_attempt')) return // with 500 tasks among these few lines the way through all of them is short
    for (const step of steps) if (isWholePass(step)) this.faults.push(`${told(step)}  <-  ${text.replaceAll(/\s+/g, ' ')}`)
  }
}

mysqlSuite(() => {
  describe('the plan of a query, with 200 000 rows that have ended', () => {
    let w: World

    before(async function () {
      this.timeout(120_000)
      w = await openWorld({ databases: MYSQL })
      for (const statement of generating(w.database)) await w.database.run(statement, [])
      for (const table of ['task_result', 'task_message', 'task_attempt', 'task_group', 'task_group_member'])
        await w.database.all(`ANALYZE TABLE ${table}`, [])
    })

    after(() => w[Symbol.asyncDispose]())

    /** What the query asks of the server; nothing is left changed. */
    async function recorded(call: Call): Promise<Recorder> {
      const undone = new Error('undone')
      let recorder: Recorder | undefined
      const asked = w.database.write(async (sql) => {
        recorder = new Recorder(sql)
        await call(recorder)
        throw undone
      })
      await assert.rejects(asked, undone)
      assert.ok(recorder && recorder.steps.length > 0)
      return recorder
    }

    for (const [name, calls] of Object.entries(INDEXED)) {
      it(`of ${name} goes through indexes`, async () => {
        for (const call of [calls].flat()) assert.deepEqual((await recorded(call)).faults, [])
      })
    }

    for (const [name, call] of Object.entries(DUE)) {
      it(`of ${name} goes by the eta, and meets nothing that is due later`, async () => {
        const read = (await recorded(call)).steps.flatMap((step) => (step.table === 'task_result' ? (step.key ?? []) : []))
        assert.ok(read.includes('task_result_due'), read.join(', '))
      })
    }

    for (const [name, call] of Object.entries({ ...EITHER, ...PAGED })) {
      it(`of ${name} goes over no table from end to end`, async () => {
        const whole = (await recorded(call)).steps.filter((step) => isWholePass(step) && step.type === 'ALL')
        assert.deepEqual(whole.map(told), [])
      })
    }
  })
})
