import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TaskEnd } from '../../src/lib/canvas/settle.js'
import { replyOf } from '../../src/lib/celery/reply.js'
import { type CeleryEnd, celeryEnd, metaOf, type Retrying } from '../../src/lib/celery/result-form.js'
import { messageFor } from '../../src/lib/publish/request.js'
import type { Json } from '../../src/lib/task/json.js'
import type { MessageOptions, TaskMessage } from '../../src/lib/task/message.js'
import type { ErrorRecord } from '../../src/lib/task/outcome.js'
import { ROOT } from '../helpers/run.js'
import { DAWN } from '../helpers/world.js'

/** What a real Celery 5.2.6 stored and sent; tracebacks are cut to their last lines. */
const CAPTURED = JSON.parse(readFileSync(join(ROOT, 'test/fixtures/celery/results.json'), 'utf8')) as {
  readonly redis: readonly { readonly what: string; readonly record: StoredRecord }[]
  readonly rpc: readonly { readonly routingKey: string; readonly body: StoredRecord }[]
}

interface StoredRecord {
  readonly task_id: string
  readonly status: CeleryEnd['status']
  readonly result: { readonly exc_type: string; readonly exc_message: readonly [string] } | Json
  readonly traceback: string | null
  readonly children: readonly [[id: string, parent: null], null][]
  readonly date_done?: string | null
  readonly group_id?: string
  readonly parent_id?: string
}

function message(id: string, own: Partial<TaskMessage> = {}, options: MessageOptions = {}): TaskMessage {
  const made = messageFor('task', [], { taskId: id }, {}, { defaultQueue: 'default', routes: {} }, null, DAWN)
  return { ...made, ...own, options }
}

/** The same end as this program knows it. */
function endOf({ status, result, traceback }: StoredRecord): TaskEnd | Retrying {
  if (status === 'SUCCESS') return { status, value: result as Json }
  const { exc_type: type, exc_message } = result as { exc_type: string; exc_message: [string] }
  return { status, error: { type, message: exc_message[0], traceback } }
}

function endLike(record: StoredRecord, options: MessageOptions = {}): CeleryEnd {
  const { task_id: id, group_id: groupId = null, parent_id: parentId = null, date_done: done } = record
  const at = done ? Date.parse(`${done.slice(0, 23)}Z`) : DAWN
  const children = record.children.map(([[child]]) => child)
  const end = celeryEnd(message(id, { groupId, parentId }, options), endOf(record), { children, at, keepsErrors: false })
  assert.ok(end)
  return end
}

const around = { children: [], at: DAWN, keepsErrors: false }
const failed = (error: ErrorRecord): TaskEnd => ({ status: 'FAILURE', error })
const exceptionOf = (type: string) => celeryEnd(message('a'), failed({ type, message: 'm', traceback: null }), around)?.result

describe("the end of a task in Celery's form", () => {
  for (const { what, record } of CAPTURED.redis) {
    it(`is what Celery stores of a task that is ${what}, to the millisecond`, () => {
      // Celery's own retry of a task counts it as its own child
      const children = record.status === 'RETRY' ? [] : record.children
      const expected = { ...record, children, date_done: record.date_done && `${record.date_done.slice(0, 23)}000` }
      const meta = metaOf(endLike({ ...record, children }))
      assert.deepEqual(meta, expected)
      assert.deepEqual(Object.keys(meta), Object.keys(record))
    })
  }

  for (const reply of CAPTURED.rpc) {
    it(`is the message that Celery replies with: ${reply.body.status}`, () => {
      const { body, ...sent } = replyOf(endLike(reply.body), reply.routingKey)
      assert.deepEqual({ ...sent, body: JSON.parse(body.toString()) }, reply)
    })
  }

  it('names an error so that Python finds it, where there is one of this name, and makes one else', () => {
    const of = (exc_type: string, exc_module: string) => ({ exc_type, exc_message: ['m'], exc_module })
    assert.deepEqual(exceptionOf('ValueError'), of('ValueError', 'builtins'))
    assert.deepEqual(exceptionOf('TypeError'), of('TypeError', 'builtins'))
    assert.deepEqual(exceptionOf('TimeLimitExceeded'), of('TimeLimitExceeded', 'billiard.exceptions'))
    assert.deepEqual(exceptionOf('RangeError'), of('RangeError', 'taskledger'))
    assert.deepEqual(exceptionOf('constructor'), of('constructor', 'taskledger'))
    assert.deepEqual(exceptionOf('eval'), of('eval', 'taskledger')) // of Python's builtins, but no exception: Celery would refuse it
    assert.deepEqual(exceptionOf('SystemExit'), of('SystemExit', 'taskledger')) // it would end the client
  })

  it('is nobody’s to know where the result is ignored, unless errors are kept', () => {
    const error = { type: 'Error', message: 'm', traceback: null }
    const ignored = message('a', {}, { ignoreResult: true })
    assert.equal(celeryEnd(ignored, { status: 'SUCCESS', value: 1 }, around), null)
    assert.equal(celeryEnd(ignored, failed(error), around), null)
    assert.equal(celeryEnd(ignored, failed(error), { ...around, keepsErrors: true })?.kept, true)
    assert.equal(celeryEnd(message('a'), { status: 'IGNORED' }, around), null)
  })

  it('counts in a chord even so, and not before the task has ended', () => {
    const chord = { task: 'tsum', args: [], kwargs: {}, options: { task_id: 'body' } }
    const member = message('a', { groupId: 'g', groupIndex: 1 }, { ignoreResult: true, celery: { chord } })
    const counted = celeryEnd(member, { status: 'SUCCESS', value: 7 }, around)
    assert.deepEqual([counted?.kept, counted?.result, counted?.chord?.kind], [false, 7, 'task'])
    assert.deepEqual(
      [celeryEnd(member, { status: 'IGNORED' }, around)].map((end) => [end?.status, end?.result]),
      [['SUCCESS', null]],
    )
    assert.equal(celeryEnd({ ...member, options: { celery: { chord } } }, { status: 'RETRY', error: null }, around)?.chord, null)
  })
})
