import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { decodeEvents, isOfTask, type TaskEvent } from '../../src/lib/celery/events.js'
import type { WatchedTask } from '../../src/lib/celery/watched-task.js'
import { ROOT } from './run.js'

export const A = 'w1@host'
export const B = 'w2@host'
export type Given = readonly [type: string, at: number, host?: string, fields?: Readonly<Record<string, unknown>>]

/** Events of one task as Celery writes them. */
export const events = (...given: readonly Given[]): TaskEvent[] => {
  const body = given.map(([type, at, hostname = A, fields = {}]) => ({
    uuid: 'id-1',
    type,
    hostname,
    pid: 7,
    clock: at,
    utcoffset: 0,
    timestamp: at,
    ...fields,
  }))
  const decoded = decodeEvents(Buffer.from(JSON.stringify(body)))
  assert.equal(decoded.unreadable, 0)
  return decoded.events.filter(isOfTask)
}
export const call = (retries: number, args = '(2, 2)') => ({
  name: 'tasks.add',
  args,
  kwargs: '{}',
  retries,
  root_id: 'id-1',
  parent_id: null,
  eta: null,
  expires: null,
})
export const sent = (at: number, retries = 0, host = 'gen@web', args?: string): Given => [
  'task-sent',
  at,
  host,
  { ...call(retries, args), queue: 'sums', exchange: '', routing_key: 'sums' },
]
export const received = (at: number, retries = 0, host = A, args?: string): Given => ['task-received', at, host, call(retries, args)]
export const started = (at: number, host = A): Given => ['task-started', at, host]
export const retried = (at: number, host = A): Given => [
  'task-retried',
  at,
  host,
  { exception: "ConnectionError('no')", traceback: 'Traceback' },
]
export const succeeded = (at: number, host = A): Given => ['task-succeeded', at, host, { result: '4', runtime: 0.1 }]
export const failed = (at: number, host = A): Given => [
  'task-failed',
  at,
  host,
  { exception: "ValueError('boom')", traceback: 'Traceback' },
]

/** Whole lives of a task, and how each ends. */
export const LIVES: Readonly<Record<string, readonly [given: readonly Given[], end: Partial<WatchedTask>]>> = {
  'waits for a worker': [[sent(1)], { status: 'PENDING', queue: 'sums', startedAt: null }],
  'is received': [[sent(1), received(2)], { status: 'PENDING', host: null }],
  runs: [[sent(1), received(2), started(3)], { status: 'STARTED', host: A, startedAt: 3000 }],
  succeeds: [[sent(1), received(2), started(3), succeeded(4)], { status: 'SUCCESS', result: { json: '4', exact: true }, error: null }],
  fails: [
    [sent(1), received(2), started(3), failed(4)],
    { status: 'FAILURE', error: { type: 'ValueError', message: 'boom', traceback: 'Traceback' } },
  ],
  'waits for its retry': [[received(1), started(2), retried(3)], { status: 'RETRY', retries: 1, startedAt: null }],
  'is received for its retry': [[received(1), started(2), retried(3), received(4, 1)], { status: 'RETRY', retries: 1, host: null }],
  'runs again': [[received(1), started(2), retried(3), received(4, 1), started(5)], { status: 'STARTED', retries: 1, startedAt: 5000 }],
  'succeeds elsewhere after a retry': [
    [sent(1), received(2), started(3), sent(4, 1, A), retried(5), received(6, 1, B), started(7, B), succeeded(8, B)],
    { status: 'SUCCESS', retries: 1, host: B, startedAt: 7000, error: null },
  ],
  'is received again before its worker tells of the retry': [
    [received(1), started(2), received(3, 1), retried(4), started(5), received(6, 2), retried(7), started(8), succeeded(9)],
    { status: 'SUCCESS', retries: 2, startedAt: 8000 },
  ],
  'waits for its second retry': [
    [
      sent(1),
      received(2),
      started(3),
      sent(4, 1, 'gen'),
      received(5, 1),
      retried(6),
      started(7),
      sent(8, 2, 'gen'),
      received(9, 2),
      retried(10),
    ],
    { status: 'RETRY', retries: 2, startedAt: null, running: [] },
  ],
  'runs again before its worker tells of the retry': [
    [received(1), started(2), received(3, 1), started(4), retried(5)],
    { status: 'STARTED', retries: 1, startedAt: 4000, running: [{ host: A, at: 4000 }] },
  ],
  'runs elsewhere before its worker tells of the retry': [
    [received(1), started(2), received(3, 1, B), started(4, B), retried(5)],
    { status: 'STARTED', retries: 1, startedAt: 4000, host: B, running: [{ host: B, at: 4000 }] },
  ],
  'was retried often before anybody watched': [[received(1, 5), started(2), retried(3)], { status: 'RETRY', retries: 5, startedAt: null }],
  'was retried often before anybody watched, and once more': [
    [received(1, 5), started(2), received(3, 6), retried(4), started(5)],
    { status: 'STARTED', retries: 6, startedAt: 5000 },
  ],
  'fails after two retries': [
    [received(1), started(2), retried(3), received(4, 1), started(5), retried(6), received(7, 2), started(8), failed(9)],
    { status: 'FAILURE', retries: 2, startedAt: 8000, finishedAt: 9000 },
  ],
  'is delivered again after its worker died': [[received(1), started(2), received(60, 0, B)], { status: 'PENDING', startedAt: null }],
  'is rejected and requeued': [
    [received(1), started(2), ['task-rejected', 3, A, { requeue: true }]],
    { status: 'PENDING', error: { type: 'Reject', message: 'the task rejected its message', traceback: null } },
  ],
  'is rejected, requeued and run': [
    [received(1), started(2), ['task-rejected', 3, A, { requeue: true }], received(4), started(5)],
    { status: 'STARTED', startedAt: 5000 },
  ],
  'is rejected for good': [[received(1), started(2), ['task-rejected', 3, A, { requeue: false }]], { status: 'FAILURE' }],
  'is cancelled with its worker’s connection': [[received(1), started(2), ['task-cancelled', 3]], { status: 'PENDING' }],
  'is revoked': [
    [sent(1), ['task-revoked', 2, A, { terminated: false, signum: null, expired: false }]],
    { status: 'REVOKED', error: { type: 'TaskRevokedError', message: 'revoked', traceback: null } },
  ],
  'is terminated': [
    [received(1), started(2), ['task-revoked', 3, A, { terminated: true, signum: 9, expired: false }]],
    { status: 'REVOKED', error: { type: 'TaskRevokedError', message: 'terminated', traceback: null } },
  ],
  expires: [
    [sent(1), ['task-revoked', 2, A, { terminated: false, signum: null, expired: true }]],
    { status: 'REVOKED', error: { type: 'TaskRevokedError', message: 'expired', traceback: null } },
  ],
  'is of no task its worker knows': [
    [['task-failed', 2, A, { exception: "NotRegistered('tasks.gone')" }]],
    { task: 'tasks.gone', status: 'FAILURE', error: { type: 'NotRegistered', message: 'tasks.gone', traceback: null } },
  ],
  'was begun before anybody watched': [[started(1), succeeded(2)], { task: null, status: 'SUCCESS', host: A }],
}

/** Events that a real Celery 5.2.6 sent, each as the body of a message: a worker's task events come as lists. */
export function goldenEvents(): { readonly type: string; readonly body: Buffer }[] {
  const { messages } = JSON.parse(readFileSync(`${ROOT}test/fixtures/celery/events_by_type.json`, 'utf8')) as {
    readonly messages: readonly { readonly routingKey: string; readonly event: { readonly type: string } }[]
  }
  return messages.map(({ routingKey, event }) => {
    const body = JSON.stringify(routingKey.endsWith('.multi') ? [event] : event)
    return { type: event.type, body: Buffer.from(body) }
  })
}
