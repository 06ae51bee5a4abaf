import * as messages from '../../src/lib/broker/sql/messages.js'
import type { Arrival } from '../../src/lib/canvas/settle.js'
import type { Sql } from '../../src/lib/database/sql.js'
import * as arrivals from '../../src/lib/ledger/arrivals.js'
import * as attempts from '../../src/lib/ledger/attempts.js'
import * as outbox from '../../src/lib/ledger/celery-outbox.js'
import * as due from '../../src/lib/ledger/due.js'
import * as ends from '../../src/lib/ledger/ends.js'
import * as expired from '../../src/lib/ledger/expired.js'
import { exportRows } from '../../src/lib/ledger/export.js'
import * as filters from '../../src/lib/ledger/filter.js'
import * as find from '../../src/lib/ledger/find.js'
import * as fixJson from '../../src/lib/ledger/fix-json.js'
import * as groups from '../../src/lib/ledger/groups.js'
import * as lost from '../../src/lib/ledger/lost.js'
import * as moves from '../../src/lib/ledger/moves.js'
import { pagesOf } from '../../src/lib/ledger/pages.js'
import * as purge from '../../src/lib/ledger/purge.js'
import * as rate from '../../src/lib/ledger/rate.js'
import * as record from '../../src/lib/ledger/record.js'
import type { TaskRow } from '../../src/lib/ledger/row.js'
import { type StoredRow, taskRow } from '../../src/lib/ledger/row.js'
import * as stale from '../../src/lib/ledger/stale.js'
import * as standing from '../../src/lib/ledger/standing.js'
import * as starts from '../../src/lib/ledger/starts.js'
import * as tree from '../../src/lib/ledger/tree.js'
import * as unbegun from '../../src/lib/ledger/unbegun.js'
import * as watched from '../../src/lib/ledger/watched.js'
import * as watchedWorkers from '../../src/lib/ledger/watched-workers.js'
import * as workers from '../../src/lib/ledger/workers.js'
import { aBeginning, aMessage, watchedColumns } from '../helpers/rows.js'
import { DAWN } from '../helpers/world.js'
import { ROWS } from './many-rows.js'

export type Call = (sql: Sql) => Promise<unknown>

const OWNER: moves.Owner = { taskId: 'id-0000700', workerId: 'w4', deliveries: 1, retries: 0 }
const START: starts.Start = { leaseUntil: DAWN + 1, maxRetries: 3, options: null, track: true }
const END: ends.End = { at: DAWN, resultExpiresAt: DAWN }
const UNTOLD: outbox.Untold = { taskId: 'id-0000001', status: 'SUCCESS', at: DAWN, ending: '{}' }
const LIFE: watchedWorkers.Life = { workerId: 'w1', pid: 1, since: DAWN, begun: true }
const WATCHED = watchedColumns({ root_id: 'id-0000000' })
const HEARD = taskRow({ ...(WATCHED as StoredRow), task_id: 'id-0000700', options: '{}' })
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
export const STALE: stale.StaleFilter = { cutoff: DAWN, now: DAWN, limit: 1_000_000 }
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

/** Has a database that needs no locks asked as if it did. */
const locking = (sql: Sql): Sql => ({
  dialect: { ...sql.dialect, locked: sql.dialect.locked || ' ' },
  all: (text, bindings) => sql.all(text, bindings),
  run: (text, bindings) => sql.run(text, bindings),
})

/** Every query, as the program asks it: answered by an index, however many rows have ended. */
const aLostRow = async (sql: Sql) => (await find.findTask(sql, 'id-0000900')) as TaskRow

export const INDEXED: Readonly<Record<string, Call | readonly Call[]>> = {
  recordAttempt: (sql) => attempts.recordAttempt(sql, 'id-0002800', 'retry', null, ERROR, DAWN),
  tryAttempt: (sql) => attempts.tryAttempt(sql, 'id-0002800', 'retry', null, ERROR, DAWN),
  attemptsOf: (sql) => attempts.attemptsOf(sql, 'id-0002800'),
  rejectionsOf: (sql) => attempts.rejectionsOf(sql, 'id-0002800'),
  givenBackOf: (sql) => attempts.givenBackOf(sql, 'id-0002800'),

  keepUntold: (sql) => outbox.keepUntold(sql, UNTOLD, DAWN),
  anythingUntold: (sql) => outbox.anythingUntold(sql, DAWN),
  claimUntold: (sql) => outbox.claimUntold(sql, DAWN, DAWN + 1, 100),
  removeTold: (sql) => outbox.removeTold(sql, UNTOLD),

  recordWatched: (sql) => watched.recordWatched(sql, 'id-0004999', WATCHED, '{}'),
  updateWatched: (sql) => watched.updateWatched(sql, 'id-0000700', WATCHED, '{}'),
  updateHeard: (sql) => watched.updateHeard(sql, HEARD, WATCHED, '{}'),
  recordSetback: (sql) => watched.recordSetback(sql, 'id-0002800', 'retry', 'w1', ERROR, DAWN),
  beatOfLife: (sql) => watchedWorkers.beatOfLife(sql, LIFE, DAWN, DAWN),
  renewLeases: (sql) => watchedWorkers.renewLeases(sql, ['w1', 'w2']),
  endOldLeases: (sql) => watchedWorkers.endOldLeases(sql, 'w1', DAWN),
  endLife: (sql) => watchedWorkers.endLife(sql, 'w1', DAWN),
  watchOf: (sql) => watchedWorkers.watchOf(sql, 'celery amqp://host:5672/'),
  graceLeases: (sql) => watchedWorkers.graceLeases(sql, 'celery amqp://host:5672/', DAWN, DAWN),

  recordGroup: (sql) => groups.recordGroup(sql, { ...GROUP, members: ['id-0000001', 'id-0000002'] }, DAWN),
  addMembers: (sql) => groups.addMembers(sql, 'group-00020', 40, ['id-0000001']),
  replaceMember: (sql) => groups.replaceMember(sql, 'group-00020', 0, 'id-0000001'),
  groupOf: (sql) => groups.groupOf(sql, 'group-00020'),
  lockGroup: (sql) => groups.lockGroup(sql, 'group-00020'),
  membersOf: (sql) => groups.membersOf(sql, 'group-00020'),
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
  releaseUnsent: (sql) => due.releaseUnsent(sql, ['id-0000400', 'id-0000401']),
  claimRetries: (sql) => due.claimRetries(sql, DAWN, DAWN, 100),
  claimUnpublished: (sql) => due.claimUnpublished(sql, DAWN, DAWN, DAWN, 100),
  nextEta: (sql) => due.nextEta(sql, DAWN),
  anythingToSend: [
    (sql) => due.anythingToSend(sql, DAWN, DAWN, DAWN),
    (sql) => due.anythingToSend(sql, DAWN - 10 ** 9, DAWN - 10 ** 9, DAWN),
  ],

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
  lockTasks: (sql) => find.lockTasks(locking(sql), ['id-0001000']),
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

  moveToStarted: (sql) => starts.moveToStarted(sql, { ...OWNER, taskId: 'id-0000001' }, START, DAWN),
  moveAllToStarted: (sql) => starts.moveAllToStarted(sql, [{ ...OWNER, taskId: 'id-0000001', deliveries: 1 }], START, DAWN),
  moveToSuccess: (sql) => ends.moveToSuccess(sql, OWNER, '1', END),
  moveAllToSuccess: (sql) => ends.moveAllToSuccess(sql, [{ owner: OWNER, result: '1', end: END }]),
  moveToFailure: (sql) => ends.moveToFailure(sql, OWNER, ERROR, END),
  failUnstarted: (sql) => ends.failUnstarted(sql, 'id-0000001', ERROR, END),
  moveToRetry: (sql) =>
    moves.moveToRetry(sql, OWNER, { retries: 1, eta: DAWN + 1, error: ERROR, stored: STORED, queue: 'default', priority: 0 }, DAWN),
  noteQueue: (sql) => moves.noteQueue(sql, OWNER, 'mail'),
  moveToPending: (sql) => moves.moveToPending(sql, OWNER, DAWN),
  moveToIgnored: (sql) => ends.moveToIgnored(sql, OWNER, END),
  moveToReplaced: (sql) => ends.moveToReplaced(sql, OWNER, 'id-0000001', END),
  moveToRevoked: (sql) => ends.moveToRevoked(sql, OWNER, 'terminated', END),
  revokeOpen: (sql) => ends.revokeOpen(sql, 'id-0000001', 'revoked', false, END),
  updateOwned: (sql) => moves.updateOwned(sql, OWNER, 'PROGRESS', '{}', DAWN),
  postpone: (sql) => moves.postpone(sql, 'id-0000001', 0, DAWN + 1, STORED, DAWN),
  revokeUnstarted: (sql) => ends.revokeUnstarted(sql, 'id-0000001', 'expired', END),
  revokeScheduled: (sql) => ends.revokeScheduled(sql, 'id-0001900', 'expired', END),
  moveToScheduledSent: (sql) => ends.moveToScheduledSent(sql, 'id-0002200', 'sent-2200', STORED, END),
  extendLease: (sql) => moves.extendLease(sql, OWNER, DAWN + 1),
  moveToStartedAndCount: [
    (sql) => starts.moveToStartedAndCount(sql, { ...OWNER, taskId: 'id-0000700' }, START, true, DAWN),
    (sql) => starts.moveToStartedAndCount(sql, { ...OWNER, taskId: 'id-0000700' }, START, false, DAWN),
  ],
  isRunning: (sql) => starts.isRunning(sql, 'id-0000700', 0, DAWN),
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
  recordAllIfNew: (sql) =>
    record.recordAllIfNew(sql, [{ message: aMessage({ id: 'id-0004999' }), stored: STORED, beginning: aBeginning() }]),
  cutPublished: (sql) => record.cutPublished(sql, aMessage({ id: 'id-0000400' }), STORED),
  unpublished: (sql) => record.unpublished(sql, ['id-0000400', 'id-0000401']),
  markPublished: [
    (sql) => record.markPublished(sql, aMessage({ id: 'id-0000400' }), STORED, DAWN),
    (sql) => record.markPublished(sql, aMessage({ id: 'id-0000400' }), STORED, DAWN, { updated_at: DAWN, retries: 0, eta: null }),
    (sql) => record.markPublished(sql, aMessage({ id: 'id-0000400' }), STORED, DAWN, { updated_at: DAWN, retries: 1, eta: DAWN }),
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

  insertMessage: (sql) => messages.insertMessage(sql, aMessage(), null),
  releaseHeld: (sql) => messages.releaseHeld(sql, DAWN + 100),
  claimReady: (sql) => messages.claimReady(sql, 'queue1', 10),
  holdClaimed: (sql) => messages.holdClaimed(sql, [1, 100_000], DAWN),
  deleteClaimed: (sql) => messages.deleteClaimed(sql, [1, 100_000]),
  deleteHeld: (sql) => messages.deleteHeld(sql, 1, 1),
  deleteAllHeld: (sql) => messages.deleteAllHeld(sql, [{ id: 1, deliveries: 1 }]),
  deleteMessages: (sql) => messages.deleteMessages(sql, ['id-0000001', 'id-0100000']),
  setHeld: (sql) => messages.setHeld(sql, 1, 1, DAWN),
  anythingReady: [
    (sql) => messages.anythingReady(sql, ['queue1', 'queue2'], DAWN - 1),
    (sql) => messages.anythingReady(sql, ['nowhere'], DAWN - 1),
  ],
  hasMessage: (sql) => messages.hasMessage(sql, 'id-0000001'),
}

/** What a sender asks again and again. */
export const DUE: Readonly<Record<string, Call>> = {
  claimDue: (sql) => due.claimDue(sql, ['a', 'b', 'c'], DAWN, DAWN),
  claimRetries: (sql) => due.claimRetries(sql, DAWN, DAWN, 100),
  nextEta: (sql) => due.nextEta(sql, DAWN),
  anythingToSend: (sql) => due.anythingToSend(sql, DAWN, DAWN, DAWN),
}

/** What goes over the ledger on purpose, a page at a time, each page a range of the primary key. */
export const PAGED: Readonly<Record<string, Call>> = {
  'findTasks of everything': (sql) => filters.findTasks(sql, {}, 50),
  'findTasks of a name that ends so': (sql) => filters.findTasks(sql, { tasks: ['*.task1'] }, 50),
  'findTasks by age': (sql) => filters.findTasks(sql, { cutoff: new Date(DAWN - 3_600_000) }, 50),
  'findTasks of what ended well': (sql) => filters.findTasks(sql, { statuses: ['SUCCESS'] }, 50),
  'countTasks of everything': (sql) => filters.countTasks(sql, {}, 1000),
  'exportRows of everything': (sql) => drain(exportRows(sql, {}, { format: 'ndjson' }), 3),
  'exportRows since a time': (sql) => drain(exportRows(sql, { since: new Date(DAWN - 1e7) }, { format: 'csv' }), 3),
  pagesOf: (sql) => drain(pagesOf(sql, {}, { row: 'task_id', line: (row) => row.task_id, lead: () => '', separator: '', end: '' }), 3),
  findBareResults: (sql) => fixJson.findBareResults(sql, 100, 1000),
}

/** What is found soon along the primary key or by an index, whichever SQLite thinks shorter. */
export const EITHER: Readonly<Record<string, Call>> = {
  'findTasks of a large queue': (sql) => filters.findTasks(sql, { queue: 'queue3' }, 50),
  'findTasks since a time': (sql) => filters.findTasks(sql, { since: new Date(DAWN - 60_000) }, 50),
  'findTasks until a time': (sql) => filters.findTasks(sql, { until: new Date(DAWN - (ROWS - 500) * 1000) }, 50),
}
