import assert from 'node:assert/strict'
import {
  type Arrival,
  type Continuation,
  continuation,
  failBody,
  replacement,
  type Stop,
  type TaskEnd,
} from '../../src/lib/canvas/continuation.js'
import { tasksOf } from '../../src/lib/canvas/freeze.js'
import { begin, type GroupRecord, type Launch, type SendContext } from '../../src/lib/canvas/launch.js'
import type { Json } from '../../src/lib/task/json.js'
import type { TaskMessage } from '../../src/lib/task/message.js'
import type { Canvas } from '../../src/lib/task/signature.js'

export const NOW = 1_700_000_000_000

/** Ids that can be read: 1, 2, 3 … */
export function counting(): () => string {
  let last = 0
  return () => String(++last)
}

/** How one task of a run ended, and whether it ran at all. */
export interface Row {
  readonly message: TaskMessage
  readonly end: TaskEnd
  readonly ran: boolean
}

interface OpenGroup extends Omit<GroupRecord, 'members'> {
  readonly members: string[]
  readonly ends: (TaskEnd | null)[]
  bodySettled: boolean
}

/** The smallest ledger and worker there can be: a loop, a map of rows and a map of groups. */
export interface World {
  readonly rows: Map<string, Row>
  readonly groups: Map<string, OpenGroup>
  readonly sent: TaskMessage[]
  /** Bodies whose header failed. */
  readonly failedBodies: Canvas[]
  /** Whose result stands for that of a task that was replaced. */
  readonly heirs: Map<string, string>
}

/** How the tasks of a run end, by what they are replaced, and in which order their messages are taken. */
export interface Script {
  readonly endOf: (message: TaskMessage) => TaskEnd
  readonly pick: (waiting: number) => number
  readonly replacementOf?: (message: TaskMessage) => Canvas | null
}

export function interpret(
  canvas: Canvas,
  leading: readonly Json[],
  newId: () => string,
  { endOf, pick, replacementOf = () => null }: Script,
): World {
  const world: World = { rows: new Map(), groups: new Map(), sent: [], failedBodies: [], heirs: new Map() }
  const waiting: TaskMessage[] = []
  const context: SendContext = { rootId: null, parentId: null, deadline: null, now: NOW, newId, defaultQueue: 'default', routes: {} }

  const launch = ({ messages, groups }: Launch): void => {
    for (const group of groups) {
      assert.ok(!world.groups.has(group.groupId), `group ${group.groupId} was recorded twice`)
      world.groups.set(group.groupId, { ...group, members: [...group.members], ends: group.members.map(() => null), bodySettled: false })
    }
    for (const message of messages) {
      assert.ok(!world.sent.some(({ id }) => id === message.id), `${message.id} was sent twice`)
      world.sent.push(message)
      waiting.push(message)
    }
  }
  const ended = (message: TaskMessage, end: TaskEnd, ran: boolean): void => {
    assert.ok(!world.rows.has(message.id), `${message.id} ended twice`)
    world.rows.set(message.id, { message, end, ran })
  }
  const apply = ({ launches, settled, arrival }: Continuation): void => {
    launches.forEach(launch)
    for (const { message, status, error } of settled) {
      ended(message, status === 'IGNORED' || !error ? { status: 'IGNORED' } : { status, error }, false)
    }
    for (const one of [arrival, ...settled.map(({ arrival: its }) => its)]) if (one) arrive(one)
  }
  const arrive = ({ groupId, groupIndex, taskId, end, culprit }: Arrival): void => {
    const group = world.groups.get(groupId)
    assert.ok(group, `${taskId} arrived in the group ${groupId}, which is not known`)
    assert.equal(group.members[groupIndex], taskId)
    assert.equal(group.ends[groupIndex], null)
    group.ends[groupIndex] = end
    if (!group.body || group.bodySettled) return
    const around = { ...context, rootId: group.rootId, parentId: taskId }
    if (end.status === 'FAILURE' || end.status === 'REVOKED') {
      group.bodySettled = true
      world.failedBodies.push(group.body)
      apply(failBody(group.body, { taskId: culprit, error: end.error }, around))
    } else if (group.ends.every((one) => one !== null)) {
      group.bodySettled = true
      launch(begin(group.body, [group.ends.map((one) => (one?.status === 'SUCCESS' ? one.value : null))], around))
    }
  }

  const replace = (message: TaskMessage, other: Canvas): void => {
    ended(message, { status: 'IGNORED' }, true)
    const whole = replacement(message, other, newId)
    const rest = new Set((message.options.chain ?? []).flatMap(tasksOf).map(({ options }) => options.taskId))
    const heir = tasksOf(whole).findLast(({ options }) => !rest.has(options.taskId))?.options.taskId
    assert.ok(heir)
    world.heirs.set(message.id, heir)
    const members: string[] = world.groups.get(message.groupId ?? '')?.members ?? []
    members[message.groupIndex ?? 0] = heir
    launch(begin(whole, [], { ...context, rootId: message.rootId, parentId: message.id }))
  }

  launch(begin(canvas, leading, context))
  for (let steps = 0; waiting.length > 0; steps++) {
    assert.ok(steps < 10_000, 'the workflow does not end')
    const [message] = waiting.splice(pick(waiting.length), 1)
    assert.ok(message)
    const other = replacementOf(message)
    if (other) {
      replace(message, other)
      continue
    }
    const end = endOf(message)
    ended(message, end, true)
    apply(continuation(message, end, context))
  }
  return world
}

export const failure: Stop = { status: 'FAILURE', error: { type: 'Error', message: 'boom', traceback: 'Error: boom\n  at task' } }
export const revoked: Stop = { status: 'REVOKED', error: { type: 'TaskRevokedError', message: 'expired', traceback: null } }
