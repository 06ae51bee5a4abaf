import type { Json } from '../task/json.js'
import type { MessageOptions, TaskMessage } from '../task/message.js'
import { destinationOf, type Routing } from '../task/routing.js'
import type { Canvas, Chord, Group, SignatureOptions, TaskSignature } from '../task/signature.js'
import { freeze, leaves } from './freeze.js'
import { calledBy } from './iterate.js'
import { mapParts } from './parts.js'

/** A group as the ledger keeps it: who is in it, and what waits for them. */
export interface GroupRecord {
  readonly groupId: string
  /** Ids of the tasks that count in it; the place of each is its index. */
  readonly members: readonly string[]
  /** Sent with the list of their results once all have succeeded. Null: nothing waits. */
  readonly body: Canvas | null
  readonly rootId: string
  readonly parentId: string | null
  /** When whatever waits for the group gives up. */
  readonly deadline: number | null
}

/** What is recorded in one commit, and sent once that is done. */
export interface Launch {
  readonly messages: readonly TaskMessage[]
  readonly groups: readonly GroupRecord[]
}

/** Where and when something is sent. */
export interface SendContext extends Routing {
  /** Null: what is sent first is the root of a tree, a task under its own id and a group under its. */
  readonly rootId: string | null
  readonly parentId: string | null
  /** Epoch milliseconds from which on nothing of this workflow is started. */
  readonly deadline: number | null
  readonly now: number
  readonly newId: () => string
}

/**
 * What is sent now for a workflow, which is frozen if it is not. `leading` goes before the own arguments of whatever runs first
 * and is not immutable: of a chain its first step, of a group each member, of a chord each member of its header. A chord with an
 * empty header is its body with `[]`.
 */
export function begin(canvas: Canvas, leading: readonly Json[], context: SendContext): Launch {
  return launched(freeze(canvas, context.newId), leading, [], context)
}

function launched(canvas: Canvas, leading: readonly Json[], rest: readonly Canvas[], context: SendContext): Launch {
  switch (canvas.kind) {
    case 'task':
      return { messages: [messageOf(canvas, leading, rest, context)], groups: [] }
    case 'chain': {
      const [first, ...others] = canvas.steps
      return first ? launched(first, leading, others, context) : { messages: [], groups: [] }
    }
    case 'group':
      return together(canvas, canvas.members, null, leading, context)
    case 'chord':
      return canvas.header.length > 0
        ? together(canvas, canvas.header.map(countedHere), canvas.body, leading, context)
        : withoutHeader(canvas, context)
  }
}

/** A chord from Celery names its body in each task that counts in it, and whoever runs that task would count it there, too. */
function countedHere(canvas: Canvas): Canvas {
  if (canvas.kind !== 'task') return mapParts(canvas, countedHere)
  const { chord: _, ...options }: SignatureOptions & { readonly chord?: unknown } = canvas.options
  return { ...canvas, options }
}

function withoutHeader(chord: Chord, context: SendContext): Launch {
  const header = together(chord, [], null, [], context)
  const body = launched(chord.body, [[]], [], { ...context, rootId: context.rootId ?? chord.groupId ?? null })
  return { messages: body.messages, groups: [...header.groups, ...body.groups] }
}

function together(
  canvas: Group | Chord,
  members: readonly Canvas[],
  body: Canvas | null,
  leading: readonly Json[],
  context: SendContext,
): Launch {
  const within = { ...context, rootId: context.rootId ?? canvas.groupId ?? null }
  const launches = members.map((member) => launched(member, leading, [], within))
  return {
    messages: launches.flatMap(({ messages }) => messages),
    groups: [...groupRecord(canvas, body, context), ...launches.flatMap(({ groups }) => groups)],
  }
}

/** None for the group a member chain ends in: the group around it counts its tasks. */
export function groupRecord(
  canvas: Group | Chord,
  body: Canvas | null,
  { rootId, parentId, deadline }: SendContext,
): readonly GroupRecord[] {
  const { groupId } = canvas
  if (groupId === undefined) return []
  const members = (canvas.kind === 'group' ? canvas.members : canvas.header).flatMap(leaves)
  return [{ groupId, members: members.map(({ options }) => options.taskId ?? ''), body, rootId: rootId ?? groupId, parentId, deadline }]
}

/** The message of one task; `rest` is what follows it. */
export function messageOf(task: TaskSignature, leading: readonly Json[], rest: readonly Canvas[], context: SendContext): TaskMessage {
  const { options } = task
  const { now, deadline } = context
  const id = options.taskId ?? context.newId()
  const eta = options.eta ?? now + (options.countdown ?? 0) * 1000
  return {
    id,
    task: task.task,
    args: task.immutable ? task.args : [...leading, ...task.args],
    kwargs: task.kwargs,
    ...destinationOf(calledBy(task), [options], context),
    priority: options.priority ?? 0,
    eta: eta > now ? Math.ceil(eta) : null,
    expires: expiresOf(options, now, deadline),
    retries: 0,
    parentId: context.parentId,
    rootId: context.rootId ?? id,
    groupId: options.groupId ?? null,
    groupIndex: options.groupIndex ?? null,
    retryOf: null,
    periodicName: null,
    options: messageOptions(options, rest, deadline),
    submittedAt: now,
  }
}

function expiresOf({ expiresAt, expires }: SignatureOptions, now: number, deadline: number | null): number | null {
  const own = expiresAt ?? (expires === undefined ? null : now + Math.round(expires * 1000))
  return own === null || deadline === null ? (own ?? deadline) : Math.min(own, deadline)
}

function messageOptions(options: SignatureOptions, rest: readonly Canvas[], deadline: number | null): MessageOptions {
  const { headers, ignoreResult, resultExpires, acksLate, softTimeLimit, timeLimit, link = [], linkError = [], celery } = options
  return {
    ...(headers ? { headers } : {}),
    ...(ignoreResult ? { ignoreResult } : {}),
    ...(resultExpires !== undefined ? { resultExpires } : {}),
    ...(acksLate ? { acksLate } : {}),
    ...(softTimeLimit !== undefined ? { softTimeLimit } : {}),
    ...(timeLimit !== undefined ? { timeLimit } : {}),
    ...(link.length > 0 ? { link } : {}),
    ...(linkError.length > 0 ? { linkError } : {}),
    ...(rest.length > 0 ? { chain: rest } : {}),
    ...(deadline !== null ? { deadline } : {}),
    ...(celery ? { celery } : {}),
  }
}
