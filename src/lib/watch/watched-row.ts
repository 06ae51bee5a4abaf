import type { Setback } from '../celery/setbacks.js'
import type { Shown, WatchedTask } from '../celery/watched-task.js'
import { REDACTED, type Redaction } from '../ledger/arguments.js'
import type { Attempt } from '../ledger/attempts.js'
import type { StoredOptions, TaskRow } from '../ledger/row.js'
import type { LifeColumns, WatchedColumns } from '../ledger/watched.js'
import type { Follower } from '../publish/follow.js'
import { isPart, type MessageOptions } from '../task/message.js'
import type { NextSteps, Part } from './next-steps.js'

/** The name of a task whose events began before anybody watched. */
const UNNAMED = '(unknown)'

/** What is known of a task: what the events before came to, by the row and the history they left. */
export function taskOf(row: TaskRow, history: readonly Attempt[]): WatchedTask {
  const shown = (column: 'args' | 'kwargs' | 'result'): Shown => ({
    json: JSON.stringify(row[column]),
    exact: !row.options.unreadable?.includes(column),
  })
  const { errorType, errorMessage, traceback, startedAt, workerId: host } = row
  const runs = row.status === 'STARTED' && startedAt !== null && host !== null
  return {
    id: row.taskId,
    task: row.task === UNNAMED ? null : row.task,
    args: shown('args'),
    kwargs: shown('kwargs'),
    queue: row.queue === '' ? null : row.queue,
    exchange: row.exchange,
    routingKey: row.routingKey,
    rootId: row.rootId,
    parentId: row.parentId,
    status: row.status as WatchedTask['status'],
    retries: row.retries,
    eta: row.eta?.getTime() ?? null,
    expires: row.expires?.getTime() ?? null,
    result: row.finishedAt === null ? null : shown('result'),
    error: errorType === null ? null : { type: errorType, message: errorMessage ?? '', traceback },
    received: row.options.received ?? null,
    setbacks: history.flatMap(setbackOf),
    running: runs ? [...(row.options.alsoRunning ?? []), { host, at: startedAt.getTime() }] : [],
    host,
    submittedAt: row.submittedAt.getTime(),
    startedAt: startedAt?.getTime() ?? null,
    updatedAt: row.updatedAt.getTime(),
    finishedAt: row.finishedAt?.getTime() ?? null,
  }
}

function setbackOf({ kind, workerId: host, at }: Attempt): Setback[] {
  const isOne = kind === 'retry' || kind === 'rejected' || kind === 'lost'
  return isOne && host !== null ? [{ kind, host, at: at.getTime() }] : []
}

export interface RowTerms {
  readonly redaction: Redaction
  readonly follower: Follower
  readonly steps: NextSteps
  /** Seconds a result is kept; null: for ever. */
  readonly resultExpires: number | null
  /** How long a worker may be silent before it counts as lost. */
  leaseMsOf(workerId: string): number
}

/** What of the options column a watch writes; null: nothing of the kind. */
export interface NotedOptions {
  readonly unreadable: StoredOptions['unreadable'] | null
  readonly redacted: StoredOptions['redacted'] | null
  readonly received: StoredOptions['received'] | null
  readonly alsoRunning: StoredOptions['alsoRunning'] | null
}

/**
 * The task as its row is to hold it.
 *
 * @param row the one there is
 * @param part what is news of it as a part
 * @param now no event is later, whatever a worker's clock says
 */
export function columnsOf(
  told: WatchedTask,
  row: TaskRow | null,
  part: Part | null,
  terms: RowTerms,
  now: number,
): { readonly columns: WatchedColumns; readonly options: NotedOptions & MessageOptions } {
  const known: StoredOptions = { ...row?.options, ...part?.message.options }
  const task = withoutIgnored(told, known)
  const { args, kwargs, redacted } = keepable(task, terms.redaction)
  const lacking = part?.redacted ?? (row && isPart(row) ? row.options.redacted : null) ?? []
  const { result } = task
  const unreadable = (['args', 'kwargs', 'result'] as const).filter((name) => !({ args, kwargs, result }[name]?.exact ?? true))
  const columns = {
    task: task.task ?? UNNAMED,
    args: args.json,
    kwargs: kwargs.json,
    queue: task.queue ?? '',
    exchange: task.exchange,
    routing_key: task.routingKey,
    priority: part?.message.priority ?? row?.priority ?? 0,
    eta: task.eta,
    expires: task.expires,
    parent_id: task.parentId,
    root_id: task.rootId ?? task.id,
    group_id: part?.message.groupId ?? row?.groupId ?? null,
    group_index: part?.message.groupIndex ?? row?.groupIndex ?? null,
    submitted_at: task.submittedAt,
    ...lifeColumns(task, row, known, terms, now),
    published_at: row?.publishedAt?.getTime() ?? task.submittedAt,
  }
  const options = {
    ...part?.message.options,
    unreadable: noneAsNull(unreadable),
    redacted: noneAsNull([...new Set([...lacking, ...redacted])]),
    received: task.received,
    alsoRunning: noneAsNull(task.running.slice(0, -1)),
  }
  return { columns, options }
}

/**
 * What has become of a task that our own program published, as its row is to hold it: that knows all else better.
 *
 * @param row before
 * @param now no event is later
 */
export function heardColumnsOf(
  told: WatchedTask,
  row: TaskRow,
  terms: RowTerms,
  now: number,
): { readonly columns: LifeColumns; readonly options: Omit<NotedOptions, 'redacted'> } {
  const task = withoutIgnored(told, row.options)
  const { result, received, running } = task
  return {
    // whoever has the message proves that it was sent
    columns: { ...lifeColumns(task, row, row.options, terms, now), published_at: row.publishedAt?.getTime() ?? now },
    options: {
      unreadable: result && !result.exact ? ['result'] : null,
      received,
      alsoRunning: noneAsNull(running.slice(0, -1)),
    },
  }
}

const withoutIgnored = (task: WatchedTask, { ignoreResult }: StoredOptions): WatchedTask =>
  ignoreResult ? { ...task, result: null } : task

const noneAsNull = <T>(list: readonly T[]): readonly T[] | null => (list.length > 0 ? list : null)

function lifeColumns(task: WatchedTask, row: TaskRow | null, known: StoredOptions, terms: RowTerms, now: number) {
  const { result, host, status, retries, startedAt, updatedAt } = task
  return {
    status,
    result: result && result.json !== 'null' ? result.json : null,
    ...errorColumns(task),
    retries,
    worker_id: host,
    lease_until: status === 'STARTED' && host !== null ? leaseOf(task, host, row, terms, now) : null,
    started_at: startedAt,
    updated_at: Math.min(updatedAt, now),
    ...endColumns(task, known, terms, now),
  }
}

const errorColumns = ({ error }: WatchedTask) => ({
  error_type: error?.type ?? null,
  error_message: error?.message ?? null,
  traceback: error?.traceback ?? null,
})

function endColumns({ finishedAt }: WatchedTask, { resultExpires: own }: StoredOptions, terms: RowTerms, now: number) {
  if (finishedAt === null) return { finished_at: null, result_expires_at: null }
  const resultExpires = own === undefined ? terms.resultExpires : own
  const at = Math.min(finishedAt, now)
  return { finished_at: at, result_expires_at: resultExpires === null ? null : at + resultExpires * 1000 }
}

/** A lease that runs is the worker's, whose heartbeats renew it. */
function leaseOf({ startedAt }: WatchedTask, host: string, row: TaskRow | null, { leaseMsOf }: RowTerms, now: number): number {
  const runs = row?.leaseUntil && row.workerId === host && row.startedAt?.getTime() === startedAt
  return runs ? row.leaseUntil.getTime() : now + leaseMsOf(host)
}

/** The arguments as the ledger may keep them. From a text that cannot be read nothing can be taken out, so the whole of it is left out. */
function keepable(task: WatchedTask, redaction: Redaction) {
  const hidden = (value: Shown): Shown =>
    value.exact || !redaction.hidesAnything ? value : { json: JSON.stringify({ repr: REDACTED }), exact: false }
  const [args, kwargs] = [hidden(task.args), hidden(task.kwargs)]
  const readable = { args: args.exact ? JSON.parse(args.json) : [], kwargs: kwargs.exact ? JSON.parse(kwargs.json) : {}, options: {} }
  const stored = redaction.stored(readable, true)
  const { redacted = [] } = JSON.parse(stored.options) as StoredOptions
  return {
    args: args.exact ? { ...args, json: stored.args } : args,
    kwargs: kwargs.exact ? { ...kwargs, json: stored.kwargs } : kwargs,
    redacted,
  }
}
