import assert from 'node:assert/strict'
import type { Binding, Sql } from '../../src/lib/database/sql.js'
import { POSTGRES } from '../helpers/databases.js'
import { postgresSuite } from '../helpers/postgres.js'
import { openWorld, type World } from '../helpers/world.js'
import { generating } from '../ledger/many-rows.js'
import { type Call, DUE, EITHER, INDEXED, PAGED } from '../ledger/queries.js'

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

/** Runs what a query sends, after it has asked PostgreSQL how it will do it. */
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
    const [answer] = await this.sql.all<{ 'QUERY PLAN': string }>(`EXPLAIN (FORMAT JSON) ${text}`, bindings)
    const [{ Plan }] = JSON.parse(answer?.['QUERY PLAN'] ?? '') as [{ Plan: Step }]
    const steps = stepsOf(Plan)
    this.steps.push(...steps)
    for (const step of steps) if (isWholePass(step)) this.faults.push(`${told(step)}  <-  ${text.replaceAll(/\s+/g, ' ')}`)
  }
}

postgresSuite(() => {
  describe('the plan of a query, with 200 000 rows that have ended', () => {
    let w: World

    before(async function () {
      this.timeout(120_000)
      w = await openWorld({ databases: POSTGRES })
      for (const statement of generating(w.database)) await w.database.run(statement, [])
      for (const table of ['task_result', 'task_message', 'task_attempt', 'task_group', 'task_group_member'])
        await w.database.run(`ANALYZE ${table}`, [])
    })

    after(() => w[Symbol.asyncDispose]())

    /** What the query asks of PostgreSQL; nothing is left changed. */
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
        const read = (await recorded(call)).steps.flatMap((step) =>
          step['Relation Name'] === 'task_result' ? (step['Index Name'] ?? []) : [],
        )
        assert.ok(read.includes('task_result_due'), read.join(', '))
      })
    }

    const { 'countTasks of everything': _ended, ...paged } = PAGED // it stops once it has counted as many as were asked for
    for (const [name, call] of Object.entries({ ...EITHER, ...paged })) {
      it(`of ${name} goes over no table from end to end`, async () => {
        const whole = (await recorded(call)).steps.filter((step) => step['Node Type'] === 'Seq Scan')
        assert.deepEqual(whole.map(told), [])
      })
    }
  })
})
