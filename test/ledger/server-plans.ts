import assert from 'node:assert/strict'
import type { Binding, Sql } from '../../src/lib/database/sql.js'
import type { Databases } from '../helpers/databases.js'
import { openWorld, type World } from '../helpers/world.js'
import { generating } from './many-rows.js'
import { type Call, DUE, EITHER, INDEXED, PAGED } from './queries.js'

/** How one kind of server tells its plans. */
export interface Planner<Step> {
  readonly databases: Databases
  analyze(w: World, table: string): Promise<unknown>
  explain(sql: Sql, text: string, bindings: readonly Binding[]): Promise<readonly Step[]>
  /** Whether a step goes over a table of many rows, or an index as long, from end to end. */
  isWholePass(step: Step): boolean
  /** Whether it goes over the table itself so. */
  isTableScan(step: Step): boolean
  /** The index by which it reads the ledger's rows; null: by none, or others. */
  indexOf(step: Step): string | null
  told(step: Step): string
  /** A statement whose whole pass is short with the few rows that there are here. */
  isShort?(text: string): boolean
  /** Names of queries that may go over a whole table, as they end before its end. */
  readonly ends?: readonly string[]
}

/** Runs what a query sends, after it has asked the server how it will do it. */
class Recorder<Step> implements Sql {
  readonly steps: Step[] = []
  readonly faults: string[] = []

  constructor(
    private readonly sql: Sql,
    private readonly planner: Planner<Step>,
  ) {}

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
    const { planner } = this
    const steps = await planner.explain(this.sql, text, bindings)
    this.steps.push(...steps)
    if (planner.isShort?.(text)) return
    for (const step of steps) {
      if (planner.isWholePass(step)) this.faults.push(`${planner.told(step)}  <-  ${text.replaceAll(/\s+/g, ' ')}`)
    }
  }
}

/** Every query of the ledger's, on a server with many rows. Inside a suite that needs it. */
export function plansOn<Step>(planner: Planner<Step>): void {
  describe('the plan of a query, with 200 000 rows that have ended', () => {
    let w: World

    before(async function () {
      this.timeout(120_000)
      w = await openWorld({ databases: planner.databases })
      for (const statement of generating(w.database)) await w.database.run(statement, [])
      for (const table of ['task_result', 'task_message', 'task_attempt', 'task_group', 'task_group_member'])
        await planner.analyze(w, table)
    })

    after(() => w[Symbol.asyncDispose]())

    /** What the query asks of the server; nothing is left changed. */
    async function recorded(call: Call): Promise<Recorder<Step>> {
      const undone = new Error('undone')
      let recorder: Recorder<Step> | undefined
      const asked = w.database.write(async (sql) => {
        recorder = new Recorder(sql, planner)
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
        const read = (await recorded(call)).steps.flatMap((step) => planner.indexOf(step) ?? [])
        assert.ok(read.includes('task_result_due'), read.join(', '))
      })
    }

    for (const [name, call] of Object.entries({ ...EITHER, ...PAGED })) {
      if (planner.ends?.includes(name)) continue
      it(`of ${name} goes over no table from end to end`, async () => {
        const whole = (await recorded(call)).steps.filter((step) => planner.isTableScan(step))
        assert.deepEqual(
          whole.map((step) => planner.told(step)),
          [],
        )
      })
    }
  })
}
