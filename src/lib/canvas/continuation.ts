import { UsageError } from '../task/errors.js'
import type { Json } from '../task/json.js'
import type { TaskMessage } from '../task/message.js'
import type { ErrorRecord } from '../task/outcome.js'
import type { Routing } from '../task/routing.js'
import type { Canvas, TaskSignature } from '../task/signature.js'
import { endsInGroup, normalise, pipe } from './compose.js'
import { calledErrbacks } from './errbacks.js'
import { freeze, freezeInto } from './freeze.js'
import { accumulate } from './iterate.js'
import { begin, type Launch, messageOf, type SendContext } from './launch.js'
import { type Arrival, arrivalOf, type Culprit, type Remains, type Settled, type Stop, settle, type TaskEnd } from './settle.js'
import { standingFor, withErrback, withLink } from './signature.js'

export type { Arrival, Culprit, Settled, Stop, TaskEnd } from './settle.js'

/** What follows the end of a task, all of it to be recorded in the commit that ends the task. */
export interface Continuation {
  readonly launches: readonly Launch[]
  readonly settled: readonly Settled[]
  readonly arrival: Arrival | null
}

/** What of the place of sending a continuation cannot read off the message. */
export type Sender = Pick<SendContext, 'now' | 'newId' | keyof Routing>

const launchOf = ({ groups }: Remains): readonly Launch[] => (groups.length === 0 ? [] : [{ messages: [], groups }])

function around({ id, rootId, options }: TaskMessage, sender: Sender): SendContext {
  return { ...sender, rootId, parentId: id, deadline: options.deadline ?? null }
}

/**
 * What follows now that `message` has ended this way. A success sends the callbacks and the next step, each with the value. Any
 * other end settles every task that would have followed, in the same way; a failure and a revoke also send the task's errbacks.
 */
export function continuation(message: TaskMessage, end: TaskEnd, sender: Sender): Continuation {
  const context = around(message, sender)
  const arrival = arrivalOf(message, end)
  if (end.status === 'SUCCESS') return { launches: successors(message, end.value, context), settled: [], arrival }
  const { chain: rest = [], link = [] } = message.options
  const remains = settle([...rest, ...link], end, { by: message.id, culprit: message.id }, context)
  const errbacks = end.status === 'IGNORED' ? [] : calledErrbacks(message, end.error, context)
  return { launches: [...launchOf(remains), ...errbacks], settled: remains.settled, arrival }
}

function successors({ options }: TaskMessage, value: Json, context: SendContext): readonly Launch[] {
  const { chain: steps = [], link = [] } = options
  const following: readonly Canvas[] = steps.length > 0 ? [...link, { kind: 'chain', steps }] : link
  return following.map((next) => begin(next, [value], context))
}

/** The messages of what follows at once when `message` has succeeded, with null for the result. */
export const following = (message: TaskMessage, sender: Sender): readonly TaskMessage[] =>
  successors(message, null, around(message, sender)).flatMap(({ messages }) => messages)

/**
 * What of a task is left to follow it when a worker of Celery's has ended it. After a success that worker itself sends the callbacks
 * and the next step.
 *
 * @param calls whether it has called the errbacks
 */
export function leftByCelery(message: TaskMessage, { status }: TaskEnd, calls: boolean): TaskMessage {
  const { chain, link, linkError, ...options } = message.options
  if (status === 'SUCCESS') return { ...message, options }
  return calls ? { ...message, options: { ...options, ...(chain && { chain }), ...(link && { link }) } } : message
}

/** Why the body of a chord was never sent. */
const chordError = ({ taskId, error: { type, message } }: Culprit): ErrorRecord => ({
  type: 'ChordError',
  message: `Dependency ${taskId} raised ${type}: ${message}`,
  traceback: null,
})

/**
 * What follows once a chord's header has failed: every task of the body fails with a ChordError that names the culprit, and the
 * errbacks of those that would have run first are sent, once each.
 */
export function failBody(body: Canvas, culprit: Culprit, context: SendContext): Continuation {
  const error = chordError(culprit)
  const stop: Stop = { status: 'FAILURE', error }
  const remains = settle([body], stop, { by: culprit.taskId, culprit: null }, context)
  const errbacks = entriesOf(body).flatMap((entry) => calledErrbacks(messageOf(entry, [], [], context), error, context))
  return { launches: [...launchOf(remains), ...errbacks], settled: remains.settled, arrival: null }
}

/** The tasks that answer for a body that is never sent: those that would have run first; for a chord, those of its body. */
function entriesOf(canvas: Canvas): readonly TaskSignature[] {
  switch (canvas.kind) {
    case 'task':
      return [canvas]
    case 'chain':
      return canvas.steps.slice(0, 1).flatMap(entriesOf)
    case 'group':
      return canvas.members.flatMap(entriesOf)
    case 'chord':
      return entriesOf(canvas.body)
  }
}

/**
 * What runs in the place of the task that `message` is of: `canvas`, followed by all that would have followed the task, with the
 * task's callbacks on its last step, its errbacks on every step, and its place in its group. A group becomes the list of its
 * results.
 *
 * @param complete adds what the app says of the tasks that are new
 * @throws {UsageError} for an empty chain
 */
export function replacement(
  message: TaskMessage,
  canvas: Canvas,
  newId: () => string,
  complete: (canvas: Canvas) => Canvas = (linked) => linked,
): Canvas {
  const single = asOneTask(normalise(canvas))
  const { link = [], linkError = [], chain: rest = [], celery } = message.options
  const linked = complete(linkError.reduce(withErrback, link.reduce(withLink, single)))
  const heir = celery ? standingFor(linked, { ...celery, id: celery.id ?? message.id }) : linked
  const whole: Canvas = { kind: 'chain', steps: [heir, ...rest] }
  if (message.groupId === null) return freeze(whole, newId)
  return freezeInto(whole, { groupId: message.groupId, from: message.groupIndex ?? 0 }, newId)
}

function asOneTask(normal: Canvas): Canvas {
  if (normal.kind === 'chain' && normal.steps.length === 0) throw new UsageError('a task cannot be replaced by an empty chain')
  return endsInGroup(normal) ? normalise(pipe(normal, accumulate())) : normal
}
