import { errorOf, REJECTED, unregisteredIn } from './error.js'
import type { EventsOfTask, TaskEvent } from './events.js'
import { type Moment, runningAfter } from './executions.js'
import { isSameSetback, type Setback, setbacksIn } from './setbacks.js'
import { shown, shownArgs, shownKwargs, type WatchedTask } from './watched-task.js'

type EventOf<Kind extends TaskEvent['kind']> = Extract<TaskEvent, { kind: Kind }>
type CallEvent = EventOf<'sent' | 'received'>
type EndEvent = EventOf<'succeeded' | 'failed' | 'revoked' | 'rejected'>

/** Only these say which attempt they mean. */
const isCall = (event: TaskEvent): event is CallEvent => event.kind === 'sent' || event.kind === 'received'

const isEnd = (event: TaskEvent): event is EndEvent =>
  ['succeeded', 'failed', 'revoked'].includes(event.kind) || (event.kind === 'rejected' && !event.requeue)

/**
 * The task as these events show it, in whatever order and however often they came; `before` is what earlier ones, of which it
 * has not ended, came to. An end wins over everything, the newest attempt over those before it, and in it a start over the message.
 */
export function foldEvents(before: WatchedTask | null, events: EventsOfTask): WatchedTask {
  const ordered = distinct(events)
  const calls = ordered.filter(isCall)
  const setbacks = allSetbacks(ordered, before)
  const retried = setbacks.filter(({ kind }) => kind === 'retry').length
  const retries = Math.max(before?.retries ?? 0, retried, ...calls.map((call) => call.retries))
  const called = {
    id: events[0].id,
    retries,
    setbacks,
    ...callIn(calls, before, retries),
    ...namesIn(ordered, before),
    submittedAt: Math.min(before?.submittedAt ?? Number.POSITIVE_INFINITY, ...ordered.map(({ at }) => at)),
    updatedAt: Math.max(before?.updatedAt ?? 0, ...ordered.map(({ at }) => at)),
  }
  const [end] = ordered.filter(isEnd).sort((a, b) => ENDS.indexOf(a.kind) - ENDS.indexOf(b.kind) || a.at - b.at)
  if (end) return { ...called, ...endOf(end), received: null, running: [], startedAt: startOfEnd(end, ordered, before), host: end.host }
  const error = setbacksIn(ordered).at(-1)?.error ?? before?.error ?? null
  const running = runningAfter(ordered, before)
  const { at: startedAt = null, host = null } = running.at(-1) ?? {}
  const received = receivedIn(calls, before, retries)
  const open = { ...called, error, result: null, finishedAt: null, received, running, startedAt, host }
  return { ...open, status: running.length > 0 ? 'STARTED' : retries === 0 ? 'PENDING' : 'RETRY' }
}

/** Each event once, by its time. */
function distinct(events: readonly TaskEvent[]): TaskEvent[] {
  const byKey = new Map(events.map((event) => [`${event.kind} ${event.at} ${event.host}`, event]))
  return [...byKey.values()].sort((a, b) => a.at - b.at || KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind) || (a.host < b.host ? -1 : 1))
}

const KINDS: readonly TaskEvent['kind'][] = [
  'sent',
  'received',
  'started',
  'cancelled',
  'retried',
  'rejected',
  'revoked',
  'failed',
  'succeeded',
]

/** Where there are two ends, as after a message that was delivered twice, Celery's own precedence of states decides. */
const ENDS: readonly EndEvent['kind'][] = ['succeeded', 'failed', 'rejected', 'revoked']

function allSetbacks(events: readonly TaskEvent[], before: WatchedTask | null): Setback[] {
  const known = before?.setbacks ?? []
  const told = setbacksIn(events).map(({ kind, host, at }) => ({ kind, host, at }))
  return [...known, ...told.filter((one) => !known.some((other) => isSameSetback(one, other)))].sort((a, b) => a.at - b.at)
}

function receivedIn(calls: readonly CallEvent[], before: WatchedTask | null, retries: number): Moment | null {
  const latest = calls.findLast((call) => call.kind === 'received' && call.retries === retries)
  const known = before?.retries === retries ? before.received : null
  return latest && (!known || latest.at > known.at) ? { host: latest.host, at: latest.at } : known
}

/** When the execution began that ended so; null: that was not seen. */
function startOfEnd({ host, at }: EndEvent, events: readonly TaskEvent[], before: WatchedTask | null): number | null {
  const start = events.findLast((event) => event.kind === 'started' && event.host === host && event.at <= at)
  return start?.at ?? (before?.host === host ? before.startedAt : null)
}

/** What the message of the newest attempt tells. What is known of an attempt's message already does not change. */
function callIn(calls: readonly CallEvent[], before: WatchedTask | null, retries: number) {
  const newest = calls.findLast((call) => call.retries === Math.max(...calls.map((one) => one.retries))) ?? null
  const known = before && before.task !== null ? before : null
  const isNews = newest !== null && (!known || (newest.retries > 0 && newest.retries >= known.retries))
  const call = isNews ? { ...newest, args: shownArgs(newest.args), kwargs: shownKwargs(newest.kwargs) } : known
  if (!call) return { args: shownArgs(null), kwargs: shownKwargs(null), rootId: null, parentId: null, eta: null, expires: null }
  const { args, kwargs, rootId, parentId, eta, expires } = call
  return { args, kwargs, rootId, parentId, expires, eta: call.retries === retries ? eta : null }
}

/** The name and the queue: from whoever published the task, if he tells; a worker shows a task's `shadow` for its name. */
function namesIn(events: readonly TaskEvent[], before: WatchedTask | null) {
  const sent = events.findLast((event) => event.kind === 'sent')
  if (sent) return { task: sent.task, queue: sent.queue, exchange: sent.exchange, routingKey: sent.routingKey }
  const { queue, exchange, routingKey } = before ?? { queue: null, exchange: '', routingKey: '' }
  const unregistered = events
    .map((event) => (event.kind === 'failed' ? unregisteredIn(event.exception) : null))
    .find((name) => name !== null)
  const task = before?.task ?? events.find(isCall)?.task ?? unregistered ?? null
  return { task, queue, exchange, routingKey }
}

function endOf(end: EndEvent) {
  const ended = { result: null, finishedAt: end.at }
  switch (end.kind) {
    case 'succeeded':
      return { ...ended, status: 'SUCCESS', result: shown(end.result), error: null } as const
    case 'failed':
      return { ...ended, status: 'FAILURE', error: errorOf(end.exception, end.traceback) } as const
    case 'rejected':
      return { ...ended, status: 'FAILURE', error: REJECTED } as const
    case 'revoked':
      return { ...ended, status: 'REVOKED', error: { type: 'TaskRevokedError', message: end.reason, traceback: null } } as const
  }
}
