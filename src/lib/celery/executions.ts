import type { TaskEvent } from './events.js'

/** Which worker something happened at, and when by its clock. */
export interface Moment {
  readonly host: string
  readonly at: number
}

/** What is known from earlier events. */
export interface Before {
  /** Executions that have begun and not ended. */
  readonly running: readonly Moment[]
  readonly retries: number
  /** Who received the message of that attempt last. */
  readonly received: Moment | null
  /** Executions that did not end the task. */
  readonly setbacks: readonly Moment[]
}

/** Whether the event says that an execution is over although the task is not. */
const closes = ({ kind }: TaskEvent): boolean => kind === 'retried' || kind === 'rejected' || kind === 'cancelled'

const isStart = ({ kind }: TaskEvent): boolean => kind === 'started'

/**
 * The executions that are running after these events, none of which is an end of the task, in their order: none or one, or two
 * while a worker that had the task run again has not told of the execution that asked for it.
 *
 * The events of starts and retries do not say of which attempt they are, and the message of the next attempt is often received,
 * and once in a while begun, before its worker tells of the retry that caused it. So each worker's starts and ends are counted against
 * each other. What ran when the message of one attempt was delivered a second time runs no more: its worker lost the message.
 *
 * @param events by their time, none of them twice
 */
export function runningAfter(events: readonly TaskEvent[], before: Before | null): Moment[] {
  const again = redeliveredAt(events, before)
  const news = events.filter((event) => event.at >= again && isNews(event, before))
  const begun = [...(before?.running ?? []).filter(({ at }) => at >= again), ...news.filter(isStart)]
  const open = begun.filter(({ host }, i) => {
    const over = news.filter((event) => event.host === host && closes(event)).length
    return begun.slice(0, i).filter((earlier) => earlier.host === host).length >= over
  })
  return open.map(({ host, at }) => ({ host, at })).sort((a, b) => a.at - b.at)
}

/** When the message of an attempt was received once more; before everything when it never was. */
function redeliveredAt(events: readonly TaskEvent[], before: Before | null): number {
  const known = before?.received ? [{ ...before.received, retries: before.retries }] : []
  const received = [...known, ...events.filter((event) => event.kind === 'received')]
  const again = received.filter(({ retries, host, at }) =>
    received.some((other) => other.retries === retries && (other.at < at || (other.at === at && other.host < host))),
  )
  return Math.max(Number.NEGATIVE_INFINITY, ...again.map(({ at }) => at))
}

/** Whether the event is not among those that came before. A worker's own events come in their order. */
function isNews({ kind, host, at }: TaskEvent, before: Before | null): boolean {
  if (!before) return true
  const { received, running, setbacks } = before
  if (kind !== 'started') return !setbacks.some((known) => known.host === host && known.at === at)
  return !(received && at < received.at) && ![...running, ...setbacks].some((known) => known.host === host && known.at >= at)
}
