import assert from 'node:assert/strict'
import { claimReady } from '../../src/lib/broker/sql/messages.js'
import type { Work } from '../../src/lib/database/engine.js'
import { moveAllToSuccess } from '../../src/lib/ledger/ends.js'
import { moveAllToStarted } from '../../src/lib/ledger/starts.js'
import { POSTGRES } from '../helpers/databases.js'
import { postgresSuite } from '../helpers/postgres.js'
import { putRow } from '../helpers/rows.js'
import { range } from '../helpers/sums.js'
import { DAWN, openWorld, type World } from '../helpers/world.js'
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

const WAYS = ['enable_seqscan', 'enable_bitmapscan', 'enable_hashjoin', 'enable_mergejoin', 'enable_sort', 'jit']
/** Has a commit weigh all ways of PostgreSQL's again. */
const WITHOUT_HINTS = `SELECT ${WAYS.map((way) => `set_config('${way}', 'on', true)`).join(', ')}`

/** Whether a step goes over a table of many rows, or an index as long, from end to end. */
function isWholePass(step: Step): boolean {
  const { 'Node Type': type, 'Relation Name': table = '', 'Index Name': index } = step
  if (type === 'Seq Scan') return !SHORT.includes(table)
  return /^Index (Only )?Scan$/.test(type) && !step['Index Cond'] && !SMALL.test(index ?? '')
}

const told = ({ 'Node Type': type, 'Relation Name': table, 'Index Name': index, 'Index Cond': condition }: Step) =>
  [type, table, index, condition].filter(Boolean).join(' ')

postgresSuite(() => {
  describe('a commit, while PostgreSQL has not counted yet what has come', () => {
    let w: World

    before(async function () {
      this.timeout(60_000)
      w = await openWorld({ databases: POSTGRES })
      for (const table of ['task_message', 'task_result']) {
        await w.database.run(`ALTER TABLE ${table} SET (autovacuum_enabled = off)`, [])
        await w.database.run(`ANALYZE ${table}`, [])
      }
      await w.database.run(
        `INSERT INTO task_message (task_id, queue, priority, body) SELECT 't' || n, 'q', 0, repeat('x', 400) FROM generate_series(1, 20000) AS n`,
        [],
      )
      await putRow(w.database, { task_id: 't0' })
      const others =
        'task, args, kwargs, status, queue, exchange, routing_key, priority, retries, root_id, options, submitted_at, published_at, updated_at'
      const copied = `SELECT 't' || n, ${others} FROM task_result, generate_series(1, 20000) AS n`
      await w.database.run(`INSERT INTO task_result (task_id, ${others}) ${copied}`, [])
    })

    after(() => w[Symbol.asyncDispose]())

    /** Rows of these tables that were looked at. */
    async function readBy(work: Work<unknown>): Promise<number> {
      const count = `SELECT sum(seq_tup_read + idx_tup_fetch) AS n FROM pg_stat_xact_user_tables WHERE relname IN ('task_message', 'task_result')`
      const [counted] = await w.database.write(async (sql) => {
        await work(sql)
        return sql.all<{ n: number }>(count, [])
      }, null)
      return counted?.n ?? 0
    }

    it('claims a few messages without looking at the others', async () => {
      assert.ok((await readBy((sql) => claimReady(sql, 'q', 10))) < 100)
    })

    for (const count of [2, 50, 500, 5000]) {
      it(`starts and ends ${count} tasks at one time without looking at the others`, async () => {
        const owners = range(count).map((n) => ({ taskId: `t${2 * count + n}`, workerId: 'w', deliveries: 1, retries: 0 }))
        const start = { leaseUntil: DAWN + 10, maxRetries: 3, options: null, track: true }
        const read = await readBy(async (sql) => {
          assert.ok(!(await moveAllToStarted(sql, owners, start, DAWN)).includes(false))
          const ends = owners.map((owner) => ({ owner, result: owner.taskId, end: { at: DAWN, resultExpiresAt: null } }))
          assert.ok(!(await moveAllToSuccess(sql, ends)).includes(false))
        })
        assert.ok(read <= 3 * count + 10, `${read} rows`)
      })
    }
  })

  plansOn<Step>({
    databases: POSTGRES,
    analyze: (w, table) => w.database.run(`ANALYZE ${table}`, []),
    async explain(sql, text, bindings) {
      await sql.run(WITHOUT_HINTS, []) // a read has none
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
