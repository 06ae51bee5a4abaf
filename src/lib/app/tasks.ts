import { setTimeout as sleep } from 'node:timers/promises'
import { type Attempt, attemptsOf } from '../ledger/attempts.js'
import { releaseClaims } from '../ledger/due.js'
import { type ExportChunk, type ExportOptions, exportRows } from '../ledger/export.js'
import { countTasks, findTasks, type TaskFilter } from '../ledger/filter.js'
import { childrenOf, findIds, findTask, retriesOf } from '../ledger/find.js'
import { type BareResult, findBareResults, quoteResult } from '../ledger/fix-json.js'
import { countPurgeable, finishedBeyond, type PurgeBound, purgeBatch } from '../ledger/purge.js'
import type { TaskRow } from '../ledger/row.js'
import { findStale, findStaleScheduled, type StaleReason, type StaleRow } from '../ledger/stale.js'
import { type Tree, treeOf } from '../ledger/tree.js'
import { previewResend, type ResendTerms, type Resent, resend } from '../publish/resend.js'
import type { Sent } from '../schedule/sent.js'
import { aheadOf } from './ahead.js'
import type { Parts } from './parts.js'
import { type Revoked, revoke } from './revoke.js'
import { refusalOfWatched } from './watched.js'

/** Which rows of a stale list. */
export interface StaleQuery {
  /** Seconds since a row was last touched (or, for `claimed` and `overdue`, was claimed or due). Default: 0. */
  readonly olderThan?: number
  /** Default: all of them, up to a bound that no terminal would show. */
  readonly limit?: number
  readonly reasons?: readonly StaleReason[]
  /** Globs on the task's name. */
  readonly tasks?: readonly string[]
  readonly queue?: string
  /** Statuses that count as ended, instead of the final ones. */
  readonly terminal?: readonly string[]
}

export interface RetryTerms extends ResendTerms {
  /** Copies a second. Default: as fast as they go. */
  readonly rate?: number
  /** Stop at the first row that is not sent. */
  readonly failFast?: boolean
  /** Send nothing, and only tell which would be refused. */
  readonly dryRun?: boolean
  /** Told of each row as it is done. */
  readonly each?: (resent: Resent) => void
}

export interface PurgeTerms {
  readonly each?: (deleted: number) => void
  readonly signal?: AbortSignal
}

/** Everything `show` tells of one task. */
export interface TaskHistory {
  readonly row: TaskRow
  readonly attempts: readonly Attempt[]
  readonly retriedAs: readonly string[]
  readonly children: readonly string[]
  /** The workflow it is a part of; null for a task that stands alone. */
  readonly tree: Tree | null
}

const NO_LIMIT = 1_000_000
/** Tasks of one workflow that `show` looks at. */
const MOST_OF_A_TREE = 1000
const PURGE_BATCH = 500
const FIX_BATCH = 1000

/** What the commands do, as functions: the ledger's rows, found, sent again, and deleted. */
export class Tasks {
  constructor(private readonly open: () => Promise<Parts>) {}

  async get(taskId: string): Promise<TaskRow | null> {
    return findTask((await this.open()).database, taskId)
  }

  /** Whether a workflow on record is still to send a task of this id, which has no row then. */
  async isAhead(taskId: string): Promise<boolean> {
    return (await aheadOf((await this.open()).database, taskId)) !== null
  }

  async history(taskId: string): Promise<TaskHistory | null> {
    const { database } = await this.open()
    const row = await findTask(database, taskId)
    if (!row) return null
    const attempts = await attemptsOf(database, taskId)
    const tree = await treeOf(database, row.rootId, MOST_OF_A_TREE)
    const alone = tree.tasks.length < 2 && tree.groups.length === 0 && !tree.tasks.some(({ chain }) => chain.length > 0)
    const [retriedAs, children] = [await retriesOf(database, taskId), await childrenOf(database, taskId)]
    return { row, attempts, retriedAs, children, tree: alone ? null : tree }
  }

  /** Ids that begin with `prefix`: what a shortened id may mean. */
  async idsLike(prefix: string, limit = 5): Promise<string[]> {
    return findIds((await this.open()).database, prefix, limit)
  }

  /** Newest first; `before` is the `id` of the last row of the page before. */
  async list(filter: TaskFilter = {}, limit = 50, before?: number): Promise<TaskRow[]> {
    return findTasks((await this.open()).database, filter, limit, before)
  }

  /** Counts no further than `cap`. */
  async count(filter: TaskFilter = {}, cap = NO_LIMIT): Promise<number> {
    return countTasks((await this.open()).database, filter, cap)
  }

  /** All rows that match, as text in chunks, oldest first. Memory stays flat however many there are. */
  async *export(filter: TaskFilter, options: ExportOptions): AsyncGenerator<ExportChunk> {
    yield* exportRows((await this.open()).database, filter, options)
  }

  /** Tasks that should have ended by now, oldest first, each with its reason. */
  async findStale(query: StaleQuery = {}): Promise<StaleRow[]> {
    const { database, now } = await this.open()
    return findStale(database, staleFilter(query, now()), query.terminal)
  }

  /** Scheduled tasks that should have been sent by now, oldest first. */
  async findStaleScheduled(query: StaleQuery = {}): Promise<StaleRow[]> {
    const { database, now } = await this.open()
    return findStaleScheduled(database, staleFilter(query, now()))
  }

  /** Gives up the claims of these scheduled tasks: they are sent again, under new ids. Returns how many. */
  async releaseScheduled(taskIds: readonly string[]): Promise<number> {
    const { database } = await this.open()
    return database.write((sql) => releaseClaims(sql, taskIds))
  }

  /** Sends a copy of each task that carries everything the original had. The originals stay as they are. */
  async retry(what: TaskFilter | readonly TaskRow[], terms: RetryTerms = {}): Promise<Resent[]> {
    const { settings, publisher, broker, database, now } = await this.open()
    const rows = isRows(what) ? what : await this.list(what, NO_LIMIT)
    const done: Resent[] = []
    const startedAt = now()
    for (const row of rows) {
      if (terms.rate && !terms.dryRun) await sleep(Math.max(0, startedAt + (done.length * 1000) / terms.rate - now()))
      const refusal = await refusalOfWatched(row, terms, settings.broker, database, now())
      const resent = refusal
        ? { taskId: row.taskId, task: row.task, newTaskId: null, error: refusal }
        : terms.dryRun
          ? await previewResend(row, terms, database, broker, now())
          : await resend(row, terms, publisher, broker, now())
      done.push(resent)
      terms.each?.(resent)
      if (terms.failFast && resent.error !== null) break
    }
    return done
  }

  /** Has tasks never start, or, with `terminate`, stopped when they run. What has ended is left alone. */
  async revoke(
    taskIds: readonly string[],
    { terminate = false }: { readonly terminate?: boolean } = {},
    each: (revoked: Revoked) => void = () => {},
  ): Promise<Revoked[]> {
    const parts = await this.open()
    const done: Revoked[] = []
    for (const taskId of taskIds) {
      const revoked = await revoke(parts, taskId, terminate)
      done.push(revoked)
      each(revoked)
    }
    return done
  }

  /**
   * One pass over what is due: scheduled tasks, retries, and tasks no broker took.
   *
   * @param leftFor seconds after which a claim, or a task that no broker confirmed, was left by a process that died. Default: the lease.
   */
  async sendScheduled(limit?: number, each?: (sent: Sent) => void, leftFor?: number): Promise<Sent[]> {
    return (await this.open()).sender.sendDue(limit, each, leftFor === undefined ? undefined : leftFor * 1000)
  }

  async countPurgeable(bound: PurgeBound): Promise<number> {
    return countPurgeable((await this.open()).database, bound)
  }

  /** The bound that leaves the `keep` newest finished rows; null when there are no more than that. */
  async boundKeeping(keep: number): Promise<PurgeBound | null> {
    const cutoff = await finishedBeyond((await this.open()).database, keep)
    return cutoff && { cutoff }
  }

  /**
   * Deletes finished rows in small commits, so that nobody waits long for the database, and what messages of theirs that
   * database holds: without the row, nothing would keep them from being run. Returns how many rows.
   */
  async purge(bound: PurgeBound, { each, signal }: PurgeTerms = {}): Promise<number> {
    const { database, broker, failpoint } = await this.open()
    const purgeOnce = () =>
      database.write(async (sql) => {
        const taskIds = await purgeBatch(sql, bound, PURGE_BATCH)
        await broker.within?.(sql).drop(taskIds)
        return taskIds.length
      })
    let deleted = 0
    for (;;) {
      await failpoint('purge:before')
      const batch = signal?.aborted ? 0 : await purgeOnce()
      await failpoint('purge:committed')
      if (batch === 0) return deleted
      deleted += batch
      each?.(deleted)
    }
  }

  /** Makes results that are bare text the JSON strings they were meant as. `dryRun` only tells which. */
  async fixJson(dryRun: boolean, each: (inspected: number) => void = () => {}): Promise<{ inspected: number; fixed: BareResult[] }> {
    const { database } = await this.open()
    const fixed: BareResult[] = []
    let inspected = 0
    for (let after = 0; ; ) {
      const page = await findBareResults(database, after, FIX_BATCH)
      if (page.inspected === 0) return { inspected, fixed }
      if (!dryRun && page.bare.length > 0) await database.write(async (sql) => Promise.all(page.bare.map((bare) => quoteResult(sql, bare))))
      fixed.push(...page.bare)
      inspected += page.inspected
      after = page.last
      each(inspected)
    }
  }
}

const isRows = (what: TaskFilter | readonly TaskRow[]): what is readonly TaskRow[] => Array.isArray(what)

function staleFilter({ olderThan = 0, limit = NO_LIMIT, reasons, tasks, queue }: StaleQuery, nowMs: number) {
  return {
    cutoff: nowMs - olderThan * 1000,
    now: nowMs,
    limit,
    ...(reasons ? { reasons } : {}),
    ...(tasks ? { tasks } : {}),
    ...(queue !== undefined ? { queue } : {}),
  }
}
