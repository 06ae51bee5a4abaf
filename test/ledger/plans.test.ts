import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import SqliteDatabase from 'better-sqlite3'
import * as messages from '../../src/lib/broker/sql/messages.js'
import type { Arrival } from '../../src/lib/canvas/settle.js'
import type { Binding, Sql } from '../../src/lib/database/sql.js'
import * as arrivals from '../../src/lib/ledger/arrivals.js'
import * as attempts from '../../src/lib/ledger/attempts.js'
import * as due from '../../src/lib/ledger/due.js'
import * as expired from '../../src/lib/ledger/expired.js'
import { exportRows } from '../../src/lib/ledger/export.js'
import * as filters from '../../src/lib/ledger/filter.js'
import * as find from '../../src/lib/ledger/find.js'
import * as fixJson from '../../src/lib/ledger/fix-json.js'
import * as groups from '../../src/lib/ledger/groups.js'
import * as lost from '../../src/lib/ledger/lost.js'
import * as moves from '../../src/lib/ledger/moves.js'
import * as purge from '../../src/lib/ledger/purge.js'
import * as rate from '../../src/lib/ledger/rate.js'
import * as record from '../../src/lib/ledger/record.js'
import type { TaskRow } from '../../src/lib/ledger/row.js'
import * as stale from '../../src/lib/ledger/stale.js'
import * as standing from '../../src/lib/ledger/standing.js'
import * as tree from '../../src/lib/ledger/tree.js'
import * as unbegun from '../../src/lib/ledger/unbegun.js'
import * as workers from '../../src/lib/ledger/workers.js'
import { aBeginning, aMessage } from '../helpers/rows.js'
import { ROOT } from '../helpers/run.js'
import { DAWN, openWorld, type World } from '../helpers/world.js'

const ROWS = 200_000
/** Rows in each open condition. */
const OPEN = 300
const MESSAGES = 5000
/** Groups of 40 members; every 20th is a chord that still waits. */
const GROUPS = 2000

/** The first rows are open, 300 in each condition; the rest has ended, nearly all of it well. */
const GENERATE = `
  INSERT INTO task_result (task_id, task, args, kwargs, status, result, error_type, queue, exchange, routing_key, priority, eta, retries, deliveries,
    worker_id, lease_until, scheduled_id, parent_id, root_id, retry_of, options, submitted_at, published_at, claimed_at, started_at, updated_at, finished_at, result_expires_at)
  WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < ${ROWS}),
  kinds AS (SELECT n, CASE WHEN n < 9 * ${OPEN} THEN n / ${OPEN} WHEN n % 100 = 0 THEN 91 WHEN n % 200 = 1 THEN 92 WHEN n % 200 = 3 THEN 93 ELSE 90 END AS kind FROM numbers)
  SELECT printf('id-%07d', n), 'app' || (n % 20) || '.task' || (n % 7), '[1]', '{}',
    CASE kind WHEN 0 THEN 'PENDING' WHEN 1 THEN 'PENDING' WHEN 2 THEN 'STARTED' WHEN 3 THEN 'STARTED' WHEN 4 THEN 'RETRY' WHEN 5 THEN 'RETRY'
      WHEN 6 THEN 'SCHEDULED' WHEN 7 THEN 'SCHEDULED' WHEN 8 THEN 'SCHEDULED' WHEN 91 THEN 'FAILURE' WHEN 92 THEN 'REVOKED' WHEN 93 THEN 'SCHEDULED_SENT' ELSE 'SUCCESS' END,
    CASE WHEN kind = 90 THEN '4' END, CASE WHEN kind = 91 THEN 'Error' || (n % 5) END, 'queue' || (n % 5), '', 'queue' || (n % 5), 0,
    CASE WHEN kind IN (4, 5, 6, 7) THEN ${DAWN} - n WHEN kind = 8 THEN ${DAWN} + 1000000 + n WHEN kind = 93 THEN ${DAWN} - n END, 0, 1,
    CASE WHEN kind IN (2, 3, 90, 91) THEN 'w' || (n % 8) END, CASE kind WHEN 2 THEN ${DAWN} + 30000 WHEN 3 THEN ${DAWN} - 30000 END,
    CASE WHEN kind IN (7, 93) THEN 'sent-' || n END, CASE WHEN n % 10 = 0 THEN printf('id-%07d', n / 10) END, 'id-0000000',
    CASE WHEN n % 1000 = 999 THEN printf('id-%07d', n - 1) END, '{}',
    ${DAWN} - (${ROWS} - n) * 1000, CASE WHEN kind NOT IN (1, 4, 6, 7, 8) THEN ${DAWN} - (${ROWS} - n) * 1000 END, CASE WHEN kind = 7 THEN ${DAWN} - n END,
    NULL, ${DAWN} - (${ROWS} - n) * 1000, CASE WHEN kind >= 90 THEN ${DAWN} - (${ROWS} - n) * 1000 END, CASE WHEN kind = 90 THEN ${DAWN} + n END
  FROM kinds`

const GENERATE_MESSAGES = `
  INSERT INTO task_message (task_id, queue, priority, body, deliveries, held_until)
  WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < ${MESSAGES})
  SELECT printf('id-%07d', n), 'queue' || (n % 5), n % 3, '{}', CASE WHEN n % 20 = 0 THEN 1 ELSE 0 END, CASE WHEN n % 20 = 0 THEN ${DAWN} + n END FROM numbers`

const GENERATE_ATTEMPTS = `
  INSERT INTO task_attempt (task_id, seq, at, kind)
  SELECT task_id, 1, updated_at, 'failure' FROM task_result WHERE status IN ('FAILURE', 'RETRY')`

const GENERATE_GROUPS = `
  INSERT INTO task_group (group_id, size, remaining, failed, body, root_id, parent_id, deadline, submitted_at, finished_at)
  WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < ${GROUPS})
  SELECT printf('group-%05d', n), 40, CASE WHEN n % 20 = 0 THEN 2 ELSE 0 END, 0, CASE WHEN n % 2 = 0 THEN '{"kind":"group","members":[]}' END,
    'id-0000000', NULL, ${DAWN} + n, ${DAWN} - n, CASE WHEN n % 20 > 0 THEN ${DAWN} END FROM numbers`

const GENERATE_MEMBERS = `
  INSERT INTO task_group_member (group_id, group_index, task_id, status)
  WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < 40 * ${GROUPS})
  SELECT printf('group-%05d', n / 40), n % 40, printf('id-%07d', n + 100000), CASE WHEN n % 800 > 1 THEN 'SUCCESS' END FROM numbers`

const GENERATE_PLACES = `
  UPDATE task_result SET group_id = printf('group-%05d', (id - 100001) / 40), group_index = (id - 100001) % 40 WHERE id > 100000 AND id <= 100000 + 40 * ${GROUPS}`

/** Runs what a query sends, after it has asked SQLite how it will do it. */
class Recorder implements Sql {
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

type Call = (sql: Sql) => Promise<unknown>

const OWNER: moves.Owner = { taskId: 'id-0000700', workerId: 'w4', deliveries: 1, retries: 0 }
const END: moves.End = { at: DAWN, resultExpiresAt: DAWN }
const ERROR = { type: 'Error', message: 'no', traceback: null }
const STORED = { args: '[]', kwargs: '{}', options: '{}' }
const GROUP = { groupId: 'group-new', body: null, rootId: 'id-0000000', parentId: null, deadline: null }
const ARRIVAL: Arrival = {
  groupId: 'group-00020',
  groupIndex: 0,
  taskId: 'id-0100800',
  task: 'app1.task1',
  end: { status: 'SUCCESS', value: 4 },
  culprit: 'id-0100800',
}
const STALE: stale.StaleFilter = { cutoff: DAWN, now: DAWN, limit: 1_000_000 }
const AN_HOUR: stale.StaleFilter = {
  ...STALE,
  cutoff: DAWN - 3_600_000,
  limit: 50,
  tasks: ['app1.*'],
  queue: 'queue1',
  reasons: ['lost', 'unclaimed'],
}
const TERMINAL = ['SUCCESS', 'REVOKED', 'IGNORED', 'SCHEDULED_SENT']

const drain = async (rows: AsyncIterable<unknown>, pages: number): Promise<void> => {
  for await (const _ of rows) if (--pages === 0) return
}

/** Every query, as the program asks it: answered by an index, however many rows have ended. */
const aLostRow = async (sql: Sql) => (await find.findTask(sql, 'id-0000900')) as TaskRow

const INDEXED: Readonly<Record<string, Call | readonly Call[]>> = {
  recordAttempt: (sql) => attempts.recordAttempt(sql, 'id-0002800', 'retry', null, ERROR, DAWN),
  attemptsOf: (sql) => attempts.attemptsOf(sql, 'id-0002800'),
  rejectionsOf: (sql) => attempts.rejectionsOf(sql, 'id-0002800'),
  givenBackOf: (sql) => attempts.givenBackOf(sql, 'id-0002800'),

  recordGroup: (sql) => groups.recordGroup(sql, { ...GROUP, members: ['id-0000001', 'id-0000002'] }, DAWN),
  addMembers: (sql) => groups.addMembers(sql, 'group-00020', 40, ['id-0000001']),
  replaceMember: (sql) => groups.replaceMember(sql, 'group-00020', 0, 'id-0000001'),
  groupOf: (sql) => groups.groupOf(sql, 'group-00020'),
  membersOf: (sql) => groups.membersOf(sql, 'group-00020'),
  countMembers: (sql) => groups.countMembers(sql, 'group-00020'),
  findMissing: (sql) => groups.findMissing(sql, 'group-00020'),
  resultsOf: (sql) => groups.resultsOf(sql, 'group-00020'),
  forgetGroup: (sql) => groups.forgetGroup(sql, 'group-00021'),
  removeGroups: (sql) => groups.removeGroups(sql, ['group-00021', 'group-00022']),
  arrive: [0, 1, 2].map((groupIndex) => (sql) => arrivals.arrive(sql, { ...ARRIVAL, groupIndex }, DAWN)),
  findExpiredGroups: (sql) => arrivals.findExpiredGroups(sql, DAWN + 100, 10),
  endChord: (sql) => arrivals.endChord(sql, 'group-00020', DAWN),
  forgetBody: (sql) => arrivals.forgetBody(sql, 'group-00022'),
  nextDeadline: (sql) => arrivals.nextDeadline(sql),
  recordUnbegun: (sql) => unbegun.recordUnbegun(sql, aMessage({ id: 'id-0004999' }), STORED, { status: 'FAILURE', error: ERROR }, END),
  findExpired: (sql) => expired.findExpired(sql, DAWN, 10),

  claimDue: (sql) => due.claimDue(sql, ['a', 'b', 'c'], DAWN, DAWN),
  resumeClaims: (sql) => due.resumeClaims(sql, DAWN, DAWN, 100),
  releaseClaims: (sql) => due.releaseClaims(sql, ['id-0002200']),
  releaseWithError: (sql) => due.releaseWithError(sql, 'id-0002200', 'sent-2200', 'Error', 'no'),
  noteSendFailure: (sql) => due.noteSendFailure(sql, 'id-0000400', 'Error', 'no', DAWN),
  findDueRetries: (sql) => due.findDueRetries(sql, DAWN, DAWN, 100),
  findUnpublished: (sql) => due.findUnpublished(sql, DAWN, DAWN, 100),
  nextEta: (sql) => due.nextEta(sql, DAWN),

  findTasks: [
    (sql) => filters.findTasks(sql, { ids: ['id-0000001', 'id-0100000'] }, 50),
    (sql) => filters.findTasks(sql, { tasks: ['app1.task1'] }, 50),
    (sql) => filters.findTasks(sql, { tasks: ['nowhere.task'] }, 50, 1000),
    (sql) => filters.findTasks(sql, { statuses: ['PENDING'] }, 50),
    (sql) => filters.findTasks(sql, { statuses: ['STARTED'] }, 1_000_000),
    (sql) => filters.findTasks(sql, { statuses: ['UPLOADING'] }, 50),
    (sql) => filters.findTasks(sql, { statuses: ['FAILURE'] }, 50),
    (sql) => filters.findTasks(sql, { statuses: ['FAILURE'] }, 50, 1000),
    (sql) => filters.findTasks(sql, { statuses: ['FAILURE', 'REVOKED', 'PENDING'] }, 50),
    (sql) => filters.findTasks(sql, { statuses: ['FAILURE'], tasks: ['app1.*'], cutoff: new Date(DAWN - 3_600_000) }, 1_000_000),
    (sql) => filters.findTasks(sql, { open: true }, 1001),
    (sql) => filters.findTasks(sql, { open: true, tasks: ['app1.*'] }, 1001),
    (sql) => filters.findTasks(sql, { open: true, queue: 'queue1', since: new Date(DAWN - 1e9) }, 1001),
    (sql) => filters.findTasks(sql, { queue: 'nowhere' }, 50),
    (sql) => filters.findTasks(sql, { errorType: 'Error1' }, 50),
  ],
  countTasks: [
    (sql) => filters.countTasks(sql, { statuses: ['PENDING'] }, 1000),
    (sql) => filters.countTasks(sql, { statuses: ['FAILURE'] }, 1_000_000),
    (sql) => filters.countTasks(sql, { errorType: 'Error1', tasks: ['app1.*'] }, 1_000_000),
  ],

  findTask: (sql) => find.findTask(sql, 'id-0001000'),
  statusOf: (sql) => find.statusOf(sql, 'id-0001000'),
  standingsOf: (sql) => standing.standingsOf(sql, ['id-0001000', 'id-0100000']),
  endsOf: (sql) => standing.endsOf(sql, ['id-0001000', 'id-0100000']),
  findTaken: (sql) => find.findTaken(sql, ['id-0001000', 'new'], ['group-00020']),
  findIds: (sql) => find.findIds(sql, 'id-00010', 5),
  retriesOf: (sql) => find.retriesOf(sql, 'id-0003998'),
  childrenOf: (sql) => find.childrenOf(sql, 'id-0001000'),
  treeOf: (sql) => tree.treeOf(sql, 'id-0001000', 100),
  rootsNear: (sql) => tree.rootsNear(sql, 'id-0001000', 50),

  quoteResult: (sql) => fixJson.quoteResult(sql, { id: 5000, taskId: 'id-0004999', text: '4' }),

  moveToStarted: (sql) => moves.moveToStarted(sql, { ...OWNER, taskId: 'id-0000001' }, DAWN + 1, 3, null, true, DAWN),
  moveToSuccess: (sql) => moves.moveToSuccess(sql, OWNER, '1', END),
  moveToFailure: (sql) => moves.moveToFailure(sql, OWNER, ERROR, END),
  failUnstarted: (sql) => moves.failUnstarted(sql, 'id-0000001', ERROR, END),
  moveToRetry: (sql) =>
    moves.moveToRetry(sql, OWNER, { retries: 1, eta: DAWN + 1, error: ERROR, stored: STORED, queue: 'default', priority: 0 }, DAWN),
  moveToPending: (sql) => moves.moveToPending(sql, OWNER, DAWN),
  moveToIgnored: (sql) => moves.moveToIgnored(sql, OWNER, END),
  moveToReplaced: (sql) => moves.moveToReplaced(sql, OWNER, 'id-0000001', END),
  moveToRevoked: (sql) => moves.moveToRevoked(sql, OWNER, 'terminated', END),
  revokeOpen: (sql) => moves.revokeOpen(sql, 'id-0000001', 'revoked', false, END),
  updateOwned: (sql) => moves.updateOwned(sql, OWNER, 'PROGRESS', '{}', DAWN),
  postpone: (sql) => moves.postpone(sql, 'id-0000001', 0, DAWN + 1, STORED, DAWN),
  revokeUnstarted: (sql) => moves.revokeUnstarted(sql, 'id-0000001', 'expired', END),
  revokeScheduled: (sql) => moves.revokeScheduled(sql, 'id-0001900', 'expired', END),
  moveToScheduledSent: (sql) => moves.moveToScheduledSent(sql, 'id-0002200', 'sent-2200', STORED, END),
  extendLease: (sql) => moves.extendLease(sql, OWNER, DAWN + 1),
  countDelivery: [
    (sql) => moves.countDelivery(sql, 'id-0000700', 0, true, DAWN),
    (sql) => moves.countDelivery(sql, 'id-0000700', 0, false, DAWN),
  ],
  isRunning: (sql) => moves.isRunning(sql, 'id-0000700', 0, DAWN),
  removeOwned: (sql) => moves.removeOwned(sql, OWNER),

  countPurgeable: [
    (sql) => purge.countPurgeable(sql, { cutoff: new Date(DAWN - (ROWS - 5000) * 1000) }),
    (sql) => purge.countPurgeable(sql, { expiredAt: new Date(DAWN + 5000) }),
    (sql) => purge.countPurgeable(sql, { cutoff: new Date(DAWN), statuses: ['FAILURE'] }),
  ],
  purgeBatch: [
    (sql) => purge.purgeBatch(sql, {}, 500),
    (sql) => purge.purgeBatch(sql, { cutoff: new Date(DAWN - (ROWS - 5000) * 1000) }, 500),
    (sql) => purge.purgeBatch(sql, { expiredAt: new Date(DAWN + 5000) }, 500),
    (sql) => purge.purgeBatch(sql, { cutoff: new Date(DAWN), statuses: ['FAILURE'] }, 500),
  ],
  finishedBeyond: (sql) => purge.finishedBeyond(sql, 1000),
  forget: (sql) => purge.forget(sql, 'id-0004999'),

  recordTask: (sql) => record.recordTask(sql, aMessage({ id: 'new' }), STORED, aBeginning()),
  recordTaskIfNew: (sql) => record.recordTaskIfNew(sql, aMessage({ id: 'id-0004999' }), STORED, aBeginning()),
  unpublished: (sql) => record.unpublished(sql, ['id-0000400', 'id-0000401']),
  markPublished: [
    (sql) => record.markPublished(sql, aMessage({ id: 'id-0000400' }), STORED, DAWN),
    (sql) => record.markPublished(sql, aMessage({ id: 'id-0000400' }), STORED, DAWN, DAWN),
  ],

  findStale: [
    (sql) => stale.findStale(sql, STALE),
    (sql) => stale.findStale(sql, AN_HOUR),
    (sql) => stale.findStale(sql, { ...STALE, limit: 50 }, TERMINAL),
    (sql) => stale.findStale(sql, { ...STALE, limit: 50 }, ['FAILURE']),
  ],
  findStaleScheduled: [
    (sql) => stale.findStaleScheduled(sql, STALE),
    (sql) => stale.findStaleScheduled(sql, { ...AN_HOUR, reasons: ['claimed'] }),
  ],

  findRescuable: (sql) => lost.findRescuable(sql, DAWN, 10),
  failLost: async (sql) => lost.failLost(sql, await aLostRow(sql), ERROR, END),
  retryLost: async (sql) => lost.retryLost(sql, await aLostRow(sql), ERROR, DAWN),
  findEnded: (sql) => lost.findEnded(sql, 'w1', ['id-0000001', 'id-0004000']),
  takeTurn: (sql) => rate.takeTurn(sql, 'limited', 1000, DAWN),

  beat: (sql) => workers.beat(sql, { workerId: 'w', host: 'h', pid: 1, queues: [] }, DAWN, DAWN),
  removeWorker: (sql) => workers.removeWorker(sql, 'w'),
  removeSilentWorkers: (sql) => workers.removeSilentWorkers(sql, DAWN),
  countLiveWorkers: (sql) => workers.countLiveWorkers(sql, DAWN),

  insertMessage: (sql) => messages.insertMessage(sql, aMessage(), null),
  releaseHeld: (sql) => messages.releaseHeld(sql, DAWN + 100),
  claimMessages: (sql) => messages.claimMessages(sql, 'queue1', 10, DAWN),
  deleteHeld: (sql) => messages.deleteHeld(sql, 1, 1),
  deleteMessages: (sql) => messages.deleteMessages(sql, ['id-0000001', 'id-0100000']),
  setHeld: (sql) => messages.setHeld(sql, 1, 1, DAWN),
  anythingReady: [
    (sql) => messages.anythingReady(sql, ['queue1', 'queue2'], DAWN - 1),
    (sql) => messages.anythingReady(sql, ['nowhere'], DAWN - 1),
  ],
  hasMessage: (sql) => messages.hasMessage(sql, 'id-0000001'),
}

/** What a sender asks again and again. */
const DUE: Readonly<Record<string, Call>> = {
  claimDue: (sql) => due.claimDue(sql, ['a', 'b', 'c'], DAWN, DAWN),
  findDueRetries: (sql) => due.findDueRetries(sql, DAWN, DAWN, 100),
  nextEta: (sql) => due.nextEta(sql, DAWN),
}

/** What goes over the ledger on purpose, a page at a time, each page a range of the primary key. */
const PAGED: Readonly<Record<string, Call>> = {
  'findTasks of everything': (sql) => filters.findTasks(sql, {}, 50),
  'findTasks of a name that ends so': (sql) => filters.findTasks(sql, { tasks: ['*.task1'] }, 50),
  'findTasks by age': (sql) => filters.findTasks(sql, { cutoff: new Date(DAWN - 3_600_000) }, 50),
  'findTasks of what ended well': (sql) => filters.findTasks(sql, { statuses: ['SUCCESS'] }, 50),
  'countTasks of everything': (sql) => filters.countTasks(sql, {}, 1000),
  'exportRows of everything': (sql) => drain(exportRows(sql, {}, { format: 'ndjson' }), 3),
  'exportRows since a time': (sql) => drain(exportRows(sql, { since: new Date(DAWN - 1e7) }, { format: 'csv' }), 3),
  findBareResults: (sql) => fixJson.findBareResults(sql, 100, 1000),
}

/** What is found soon along the primary key or by an index, whichever SQLite thinks shorter. */
const EITHER: Readonly<Record<string, Call>> = {
  'findTasks of a large queue': (sql) => filters.findTasks(sql, { queue: 'queue3' }, 50),
  'findTasks since a time': (sql) => filters.findTasks(sql, { since: new Date(DAWN - 60_000) }, 50),
  'findTasks until a time': (sql) => filters.findTasks(sql, { until: new Date(DAWN - (ROWS - 500) * 1000) }, 50),
}

/** Whether a function sends something to a database: it then takes one first. */
const isQuery = (exported: unknown): boolean => typeof exported === 'function' && /^[^(]*\(sql\b/.test(String(exported))

describe('the plan of a query, with 200 000 rows that have ended', () => {
  let w: World
  let raw: SqliteDatabase.Database

  before(async () => {
    w = await openWorld()
    raw = new SqliteDatabase(w.database.filename)
    raw.pragma('synchronous = OFF')
    for (const statement of [GENERATE, GENERATE_MESSAGES, GENERATE_ATTEMPTS, GENERATE_GROUPS, GENERATE_MEMBERS, GENERATE_PLACES])
      raw.exec(statement)
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
