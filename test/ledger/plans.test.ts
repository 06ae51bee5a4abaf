import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import SqliteDatabase from 'better-sqlite3'
import type { Binding, Sql } from '../../src/lib/database/sql.js'
import { SQLITE } from '../../src/lib/database/sqlite-dialect.js'
import * as stale from '../../src/lib/ledger/stale.js'
import { ROOT } from '../helpers/run.js'
import { openWorld, type World } from '../helpers/world.js'
import { generating } from './many-rows.js'
import { type Call, DUE, EITHER, INDEXED, PAGED, STALE } from './queries.js'

/** Runs what a query sends, after it has asked SQLite how it will do it. */
class Recorder implements Sql {
  readonly dialect = SQLITE
  statements = 0
  readonly plans: string[] = []
  readonly faults: string[] = []

  constructor(private readonly raw: SqliteDatabase.Database) {}

  async all<Row>(text: string, bindings: readonly Binding[]): Promise<Row[]> {
    this.explain(text, bindings)
    return this.raw.prepare(text).all(bindings) as Row[]
  }

  async run(text: string, bindings: readonly Binding[]): Promise<number> {
    this.explain(text, bindings)
    return this.raw.prepare(text).run(bindings).changes
  }

  private explain(text: string, bindings: readonly Binding[]): void {
    this.statements += 1
    const plan = this.raw.prepare(`EXPLAIN QUERY PLAN ${text}`).all(bindings) as { detail: string }[]
    const details = plan.map(({ detail }) => detail)
    this.plans.push(...details)
    const made = details.flatMap((detail) => /^(?:MATERIALIZE|CO-ROUTINE) (.+)$/.exec(detail)?.[1] ?? [])
    for (const detail of details) if (isWholePass(detail, made)) this.faults.push(`${detail}  <-  ${text.replaceAll(/\s+/g, ' ')}`)
  }
}

/** Indexes that hold nothing but open rows, or held messages. */
const SMALL = /USING (COVERING )?INDEX (task_result_(in_flight|unpublished|due|claimed|open)|task_message_held|task_group_deadline)$/

/** A range of the primary key: the page of a list that goes over the whole ledger. */
const KEYSET = /^SEARCH task_result USING INTEGER PRIMARY KEY/

/** Whether a step of a plan goes over a table from end to end, or over an index as long as the table. */
function isWholePass(detail: string, made: readonly string[]): boolean {
  const name = /^SCAN (\S+)/.exec(detail)?.[1]
  if (name === undefined) return /INTEGER PRIMARY KEY \(rowid[<>]/.test(detail)
  return !(/VIRTUAL TABLE|CONSTANT ROW/.test(detail) || made.includes(name) || name === 'task_worker' || SMALL.test(detail))
}

/** Whether a function sends something to a database: it then takes one first. */
const isQuery = (exported: unknown): boolean => typeof exported === 'function' && /^[^(]*\(sql\b/.test(String(exported))

describe('the plan of a query, with 200 000 rows that have ended', () => {
  let w: World
  let raw: SqliteDatabase.Database

  before(async () => {
    w = await openWorld()
    raw = new SqliteDatabase(w.database.name)
    raw.pragma('synchronous = OFF')
    for (const statement of generating(w.database)) raw.exec(statement)
  })

  after(async () => {
    raw.close()
    await w[Symbol.asyncDispose]()
  })

  /** What the query asks of SQLite; nothing is left changed. */
  async function recorded(call: Call): Promise<Recorder> {
    const recorder = new Recorder(raw)
    raw.exec('BEGIN')
    try {
      await call(recorder)
    } finally {
      raw.exec('ROLLBACK')
    }
    assert.ok(recorder.statements > 0)
    return recorder
  }

  for (const statistics of ['without', 'with'] as const) {
    describe(`${statistics} statistics`, () => {
      before(() => {
        if (statistics === 'with') raw.exec('ANALYZE')
      })

      for (const [name, calls] of Object.entries(INDEXED)) {
        it(`of ${name} goes through indexes`, async () => {
          for (const call of [calls].flat()) assert.deepEqual((await recorded(call)).faults, [])
        })
      }

      for (const [name, call] of Object.entries(DUE)) {
        it(`of ${name} goes by the eta, and meets nothing that is due later`, async () => {
          const read = (await recorded(call)).plans.flatMap((plan) => /task_result .*INDEX (\S+)/.exec(plan)?.[1] ?? [])
          assert.deepEqual(read, ['task_result_due'])
        })
      }

      for (const [name, call] of Object.entries(EITHER)) {
        it(`of ${name} goes over no table from end to end`, async () => {
          for (const fault of (await recorded(call)).faults) assert.match(fault, KEYSET)
        })
      }

      for (const [name, call] of Object.entries(PAGED)) {
        it(`of ${name} goes along the primary key and sorts nothing`, async () => {
          const { plans, faults } = await recorded(call)
          for (const fault of faults) assert.match(fault, KEYSET)
          assert.ok(!plans.some((plan) => plan.includes('TEMP B-TREE')), plans.join('\n'))
        })
      }
    })
  }

  it('of nothing that is stale reads little more than the index entries there are', async () => {
    raw.exec('BEGIN')
    try {
      raw.exec(`DELETE FROM task_result WHERE finished_at IS NULL`)
      const runs: number[] = []
      for (let run = 0; run < 5; run++) {
        const startedAt = performance.now()
        const found = [await stale.findStale(new Recorder(raw), STALE), await stale.findStaleScheduled(new Recorder(raw), STALE)]
        runs.push(performance.now() - startedAt)
        assert.deepEqual(found, [[], []])
      }
      assert.ok(Math.min(...runs) < 20, `${runs} ms; a pass over the table takes longer`)
    } finally {
      raw.exec('ROLLBACK')
    }
  })

  it('is held here for every query there is', async () => {
    const files = (await readdir(`${ROOT}src/lib/ledger`)).filter((file) => file.endsWith('.ts')).map((file) => `ledger/${file}`)
    const names: string[] = []
    for (const file of [...files, 'broker/sql/messages.ts']) {
      const module = (await import(`../../src/lib/${file.replace(/ts$/, 'js')}`)) as Record<string, unknown>
      names.push(...Object.keys(module).filter((name) => isQuery(module[name])))
    }
    const held = [...Object.keys(INDEXED), ...Object.keys(PAGED).map((name) => name.split(' ')[0] ?? '')]
    assert.deepEqual([...new Set(held)].sort(), names.sort())
  })
})
