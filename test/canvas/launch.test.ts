import assert from 'node:assert/strict'
import { fromCelery } from '../../src/lib/canvas/celery-form.js'
import { freeze } from '../../src/lib/canvas/freeze.js'
import { begin, type SendContext } from '../../src/lib/canvas/launch.js'
import { signature, withErrback, withLink } from '../../src/lib/canvas/signature.js'
import { leavesNoRow } from '../../src/lib/task/message.js'
import type { Canvas, SignatureOptions } from '../../src/lib/task/signature.js'
import { counting, NOW } from './interpreter.js'
import { a, add, addImmutable, b, c, chained, chorded, d, grouped, task } from './signatures.js'

const context = (changes: Partial<SendContext> = {}): SendContext => ({
  rootId: null,
  parentId: null,
  deadline: null,
  now: NOW,
  newId: counting(),
  defaultQueue: 'default',
  routes: {},
  ...changes,
})

const sent = (options: SignatureOptions, changes: Partial<SendContext> = {}) => {
  const [message] = begin(task('a', [], options), [], context(changes)).messages
  assert.ok(message)
  return message
}

describe('a chord that Celery has written', () => {
  it('is counted by the ledger alone: no task of its header names the body', () => {
    const body = { task: 'body', args: [], kwargs: {}, options: {} }
    const part = { task: 'part', args: [], kwargs: {}, options: { chord: body, group_index: 0 } }
    const steps = {
      task: 'celery.chain',
      args: [],
      kwargs: { tasks: [{ ...part, options: {} }, part] },
      options: {},
      subtask_type: 'chain',
    }
    const whole = fromCelery({
      task: 'celery.chord',
      args: [],
      kwargs: { header: [part, steps], body },
      options: {},
      subtask_type: 'chord',
    })
    const launch = begin(whole, [], context())
    assert.equal(launch.groups.length, 1)
    assert.doesNotMatch(JSON.stringify(launch.messages), /"chord"/)
  })
})

describe('the message of a signature', () => {
  it('has all a worker needs', () => {
    const mail = signature('mail', { args: ['x'], kwargs: { y: 1 }, options: { queue: 'q', priority: 7, headers: { tenant: 1 } } })
    assert.deepEqual(begin(mail, [5], context({ rootId: 'root', parentId: 'parent' })), {
      messages: [
        {
          id: '1',
          task: 'mail',
          args: [5, 'x'],
          kwargs: { y: 1 },
          queue: 'q',
          exchange: '',
          routingKey: 'q',
          priority: 7,
          eta: null,
          expires: null,
          retries: 0,
          parentId: 'parent',
          rootId: 'root',
          groupId: null,
          groupIndex: null,
          retryOf: null,
          periodicName: null,
          options: { headers: { tenant: 1 } },
          submittedAt: NOW,
        },
      ],
      groups: [],
    })
  })

  it('is its own root and goes to the default queue unless something else is said', () => {
    const { id, rootId, queue, routingKey, priority } = sent({})
    assert.deepEqual(
      { id, rootId, queue, routingKey, priority },
      { id: '1', rootId: '1', queue: 'default', routingKey: 'default', priority: 0 },
    )
  })

  it('waits for its countdown or its eta; one that has passed is none', () => {
    const etas = [{ countdown: 1.5 }, { countdown: 0 }, { eta: NOW + 7 }, { eta: NOW }, { eta: NOW - 1 }].map(
      (options) => sent(options).eta,
    )
    assert.deepEqual(etas, [NOW + 1500, null, NOW + 7, null, null])
  })

  it('expires by its own options or at the deadline of its workflow, whichever is first', () => {
    const expires = (options: SignatureOptions, deadline: number | null) => sent(options, { deadline }).expires
    assert.deepEqual([expires({}, null), expires({ expires: 1.5 }, null), expires({ expiresAt: 5 }, null)], [null, NOW + 1500, 5])
    assert.deepEqual([expires({}, NOW), expires({ expires: 5 }, NOW), expires({ expires: 5 }, NOW + 9000)], [NOW, NOW, NOW + 5000]) // 95
  })

  it('carries its options, callbacks, errbacks and deadline, and nothing it was not given', () => {
    const options = { ignoreResult: true, resultExpires: null, acksLate: true, softTimeLimit: 1, timeLimit: 2, link: [b], linkError: [c] }
    assert.deepEqual(sent(options, { deadline: 5 }).options, { ...options, deadline: 5 })
    assert.deepEqual(sent({ ignoreResult: false, acksLate: false, link: [], linkError: [], errback: true, countdown: 1 }).options, {})
  })

  it('leaves no row when nobody asks for its result and it is no part of a workflow', () => {
    const ignoring = task('a', [], { ignoreResult: true })
    const gone = (canvas: Canvas) => begin(canvas, [], context()).messages.map(leavesNoRow)
    assert.deepEqual(gone(ignoring), [true])
    for (const part of [a, chained(ignoring, b), grouped(ignoring), withLink(ignoring, b), withErrback(ignoring, b)]) {
      assert.deepEqual(gone(part), [false])
    }
    assert.ok(!leavesNoRow({ ...sent({ ignoreResult: true }), retryOf: 'x' }))
  })
})

describe('what is sent first', () => {
  /** Who is sent with which arguments, what is left of the chain, and the place in a group. */
  const first = (canvas: Canvas, leading: readonly number[] = [], changes: Partial<SendContext> = {}) =>
    begin(canvas, leading, context(changes)).messages.map(({ task: name, args, options, groupId, groupIndex }) => {
      const rest = (options.chain ?? []).map((step) => (step.kind === 'task' ? step.task : step.kind))
      return [name, ...args, ...(rest.length > 0 ? [`then ${rest}`] : []), ...(groupId === null ? [] : [`${groupId}[${groupIndex}]`])].join(
        ' ',
      )
    })

  it('of a chain is its first step, which carries the rest', () => {
    assert.deepEqual(first(chained(add(1), add(2), grouped(b, c)), [5]), ['add 5 1 then add,group']) // 86
    assert.deepEqual(first(chained(addImmutable(1), add(2)), [5]), ['add 1 then add']) // 92
    assert.deepEqual(begin(chained(), [], context()), { messages: [], groups: [] }) // 93
  })

  it('of a group are its members, each with what comes from elsewhere', () => {
    assert.deepEqual(first(grouped(add(1), addImmutable(2), chained(add(3), b)), [5]), ['add 5 1 1[0]', 'add 2 1[1]', 'add 5 3 then b']) // 102
  })

  it('of a chord is its header', () => {
    assert.deepEqual(first(chorded([add(1), add(2)], c), [5]), ['add 5 1 1[0]', 'add 5 2 1[1]'])
  })

  it('of a chord without a header is its body, with []', () => {
    const launch = begin(chorded([], chained(add(1), b)), [5], context())
    assert.deepEqual(
      launch.messages.map(({ args, rootId }) => [args, rootId]),
      [[[[], 1], '1']],
    ) // 112
    assert.deepEqual(
      launch.groups.map(({ groupId, members, body }) => ({ groupId, members, body })),
      [{ groupId: '1', members: [], body: null }],
    )
  })
})

describe('the groups that are recorded', () => {
  it('have the ids of the tasks that count in them, the body of a chord, and what the messages have', () => {
    const frozen = freeze(chorded([chained(a, b), c], d), counting())
    const { messages, groups } = begin(frozen, [], context({ parentId: 'p', deadline: 9 }))
    const body = frozen.kind === 'chord' ? frozen.body : null
    assert.deepEqual(groups, [{ groupId: '1', members: ['3', '4'], body, rootId: '1', parentId: 'p', deadline: 9 }])
    for (const { rootId, parentId, options } of messages) assert.deepEqual([rootId, parentId, options.deadline], ['1', 'p', 9]) // 128
  })

  it('are the outer and the inner ones, under one root', () => {
    const { messages, groups } = begin(grouped(chorded([a], b), c), [], context())
    assert.deepEqual(
      groups.map(({ groupId, members, rootId, body }) => [groupId, members, rootId, body?.kind ?? null]),
      [
        ['1', ['4', '5'], '1', null],
        ['2', ['3'], '1', 'task'],
      ],
    )
    assert.deepEqual(
      messages.map(({ rootId }) => rootId),
      ['1', '1'],
    ) // 128
  })

  it('keep the body out of the messages, however many there are', () => {
    const body = chained(...Array.from({ length: 50 }, () => withErrback(b, c)))
    const { messages } = begin(
      chorded(
        Array.from({ length: 100 }, () => a),
        body,
      ),
      [],
      context(),
    )
    for (const { options } of messages) assert.deepEqual(options, {}) // 131
  })

  it('are none for the group a member chain ends in', () => {
    const { groups } = begin(grouped(chained(a, grouped(b, c)), d), [], context())
    assert.deepEqual(
      groups.map(({ members }) => members),
      [['3', '4', '5']],
    )
  })

  it('may have no member', () => {
    const { messages, groups } = begin(grouped(), [], context())
    assert.deepEqual([messages, groups.map(({ members }) => members)], [[], [[]]]) // 99
  })
})
