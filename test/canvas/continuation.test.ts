import assert from 'node:assert/strict'
import { type Continuation, continuation, failBody, type TaskEnd } from '../../src/lib/canvas/continuation.js'
import { freeze } from '../../src/lib/canvas/freeze.js'
import { begin, type SendContext } from '../../src/lib/canvas/launch.js'
import { immutable, signature, withErrback, withLink } from '../../src/lib/canvas/signature.js'
import { isJsonObject, type Json } from '../../src/lib/task/json.js'
import type { TaskMessage } from '../../src/lib/task/message.js'
import type { Canvas } from '../../src/lib/task/signature.js'
import { counting, failure, NOW, revoked } from './interpreter.js'
import { a, add, addImmutable, b, c, chained, chorded, d, grouped, task } from './signatures.js'

const DEADLINE = NOW + 60_000
const log = task('log')
const ok = (value: Json): TaskEnd => ({ status: 'SUCCESS', value })
const error = failure.status === 'FAILURE' ? failure.error : null

/** A workflow on its way: its first message, and where what follows is sent from. */
function started(canvas: Canvas, newId = counting()): { message: TaskMessage; context: SendContext } {
  const context = { rootId: null, parentId: null, deadline: DEADLINE, now: NOW, newId, defaultQueue: 'default', routes: {} }
  const [message] = begin(canvas, [], context).messages
  assert.ok(message)
  return { message, context }
}

function ending(canvas: Canvas, end: TaskEnd): Continuation & { message: TaskMessage } {
  const { message, context } = started(canvas)
  return { ...continuation(message, end, context), message }
}

const sent = ({ launches }: Continuation) => launches.flatMap(({ messages }) => messages)

const calls = (what: Continuation) => sent(what).map(({ task: name, args }) => [name, ...args])

const rows = ({ settled }: Continuation) =>
  settled.map(({ message, status, error: why }) => [message.id, message.task, status, why?.type ?? null])

describe('a task that succeeded', () => {
  it('is followed by the next step, which gets the value first', () => {
    assert.deepEqual(calls(ending(chained(a, add(4), b), ok(3))), [['add', 3, 4]]) // 86
    assert.deepEqual(calls(ending(chained(a, addImmutable(5, 5)), ok(3))), [['add', 5, 5]]) // 92
    assert.deepEqual(calls(ending(chained(a, add(1)), ok([1, 2]))), [['add', [1, 2], 1]])
    assert.deepEqual(calls(ending(chained(a, add(1)), ok(null))), [['add', null, 1]])
  })

  it('hands on the rest of the chain, its root and its deadline, and is the parent', () => {
    const { message, ...following } = ending(chained(a, b, c), ok(1))
    const [next] = sent(following)
    assert.deepEqual([next?.id, next?.rootId, next?.parentId, next?.expires], ['2', message.id, message.id, DEADLINE])
    assert.deepEqual(next?.options, { chain: message.options.chain?.slice(1), deadline: DEADLINE })
  })

  it('is followed by a group, whose members get the value each, and by the group as the ledger keeps it', () => {
    const following = ending(chained(a, grouped(add(1), add(2))), ok(3))
    assert.deepEqual(calls(following), [
      ['add', 3, 1],
      ['add', 3, 2],
    ])
    const [group] = following.launches.flatMap(({ groups }) => groups)
    assert.deepEqual([group?.members, group?.rootId, group?.parentId, group?.deadline], [['3', '4'], '1', '1', DEADLINE])
  })

  it('sends each of its callbacks the value, before the next step and as its children', () => {
    const linked = [b, addImmutable(1), grouped(c, d)].reduce<Canvas>(withLink, a)
    const following = ending(chained(linked, add(9)), ok(5))
    assert.deepEqual(calls(following), [
      ['b', 5],
      ['add', 1],
      ['c', 5],
      ['d', 5],
      ['add', 5, 9],
    ]) // 97
    for (const { parentId, rootId, options } of sent(following))
      assert.deepEqual([parentId, rootId, options.deadline], ['1', '1', DEADLINE])
  })

  it('that ends a chain is followed by nothing', () => {
    assert.deepEqual(ending(a, ok(1)), { launches: [], settled: [], arrival: null, message: ending(a, ok(1)).message })
  })

  it('arrives in the group it counts in', () => {
    const { arrival } = ending(grouped(a), ok(1))
    assert.deepEqual(arrival, { groupId: '1', groupIndex: 0, taskId: '2', task: 'a', end: ok(1), culprit: '2' })
  })
})

describe('a task that failed', () => {
  it('settles all that would have followed with its own error, and sends its errbacks and no others', () => {
    const whole = withErrback(chained(a, b, chorded([c], d)), log)
    const following = ending(whole, failure)
    assert.deepEqual(rows(following), [
      ['2', 'b', 'FAILURE', 'Error'],
      ['4', 'c', 'FAILURE', 'Error'],
      ['5', 'd', 'FAILURE', 'Error'],
    ])
    assert.deepEqual(calls(following), [['log', '1']]) // 90
  })

  it('names itself on the rows it settled, which say all of the task and wait for nothing', () => {
    const step = task('b', [1], { queue: 'q', countdown: 5, link: [c] })
    const [row] = ending(chained(a, step, d), failure).settled
    assert.deepEqual(row?.message, {
      ...started(step).message,
      id: '2',
      rootId: '1',
      parentId: '1',
      eta: null,
      options: { link: [c], deadline: DEADLINE, settledBy: '1' },
    })
  })

  it('settles callbacks that somebody may ask for, with a group of them', () => {
    const callback = freeze(grouped(b, c), counting())
    const following = ending(withLink(withLink(a, immutable(callback)), d), failure)
    assert.deepEqual(
      following.settled.map(({ message }) => message.task),
      ['b', 'c'],
    )
    assert.deepEqual(following.launches, [
      { messages: [], groups: [{ groupId: '1', members: ['2', '3'], body: null, rootId: '1', parentId: '1', deadline: DEADLINE }] },
    ])
  })

  it('records the groups that never begin, and nothing waits for them', () => {
    const { launches, settled } = ending(chained(a, grouped(b, c)), failure)
    assert.deepEqual(
      launches.flatMap(({ groups }) => groups.map(({ members, body }) => [members, body])),
      [[['3', '4'], null]],
    )
    assert.deepEqual(
      settled.map(({ arrival }) => arrival?.groupIndex),
      [0, 1],
    )
    const chord = ending(chained(a, chorded([b], c)), failure)
    assert.deepEqual(
      chord.launches.flatMap(({ groups }) => groups.map(({ members, body }) => [members, body])),
      [[['3'], null]],
    )
  })

  it('in a chain within a group arrives there as the end of the chain, and is named as the one that failed', () => {
    const { arrival, settled } = ending(chorded([chained(a, b, c), d], add()), failure)
    assert.equal(arrival, null)
    assert.deepEqual(
      settled.map((row) => row.arrival),
      [null, { groupId: '1', groupIndex: 0, taskId: '4', task: 'c', end: failure, culprit: '2' }],
    ) // 125
  })
})

describe('a task that was revoked or has expired', () => {
  it('sends its errbacks, and settles what would have followed as revoked', () => {
    const following = ending(withErrback(chained(a, b), log), revoked)
    assert.deepEqual(rows(following), [['2', 'b', 'REVOKED', 'TaskRevokedError']]) // 96
    assert.deepEqual(calls(following), [['log', '1']])
  })
})

describe('a task that was ignored', () => {
  it('ends all that would have followed in the same way, and calls nobody', () => {
    const following = ending(withErrback(chained(a, withLink(b, c)), log), { status: 'IGNORED' })
    assert.deepEqual(rows(following), [['2', 'b', 'IGNORED', null]])
    assert.deepEqual(following.launches, [])
    assert.deepEqual(ending(grouped(a), { status: 'IGNORED' }).arrival?.end, { status: 'IGNORED' })
  })
})

describe('an errback', () => {
  const newStyle = signature('log', { args: ['extra'], options: { errback: true } })
  const mail = signature('mail', { args: [1], kwargs: { x: 2 }, options: { queue: 'q', headers: { tenant: 'acme' } } })

  it('that is declared as one gets the request, the error and the traceback before its own arguments', () => {
    const [call] = calls(ending(withErrback(mail, newStyle), failure))
    const request = {
      id: '1',
      task: 'mail',
      args: [1],
      kwargs: { x: 2 },
      retries: 0,
      rootId: '1',
      parentId: null,
      groupId: null,
      queue: 'q',
      headers: { tenant: 'acme' },
    }
    assert.deepEqual(call, ['log', request, { type: 'Error', message: 'boom' }, error?.traceback, 'extra']) // 135
  })

  it('gets null for a traceback where no code of the task ran', () => {
    assert.equal(calls(ending(withErrback(mail, newStyle), revoked))[0]?.[3], null) // 135
  })

  it('that is any other task gets the id of the failed one, and is its child', () => {
    const following = ending(withErrback(grouped(mail), task('log', ['extra'])), failure)
    assert.deepEqual(calls(following), [['log', '2', 'extra']]) // 136
    assert.deepEqual(
      sent(following).map(({ parentId, rootId }) => [parentId, rootId]),
      [['2', '1']],
    )
  })

  it('that is immutable gets its own arguments only', () => {
    assert.deepEqual(calls(ending(withErrback(mail, immutable(newStyle)), failure)), [['log', 'extra']])
  })

  it('may be a workflow: whatever runs first in it is told, each in its way', () => {
    const errback = chained(grouped(newStyle, task('page')), task('done'))
    const [first, second] = calls(ending(withErrback(mail, errback), failure))
    assert.deepEqual([first?.length, first?.at(-1), second], [5, 'extra', ['page', '1']])
  })

  it('is not bound by the deadline of the workflow, which may be what the task failed by', () => {
    const [message] = sent(ending(withErrback(mail, log), revoked))
    assert.deepEqual([message?.expires, message?.options], [null, {}])
  })
})

describe('a body whose header failed', () => {
  const culprit = { taskId: 'x', error: { type: 'TypeError', message: 'no number', traceback: 'TypeError: …' } }

  /** A chord as it is recorded: its body has its ids. */
  function failed(body: Canvas): Continuation {
    const newId = counting()
    return failBody(freeze(body, newId), culprit, { ...started(a, newId).context, rootId: 'root', parentId: 'parent' })
  }

  const watched = (name: string, ...errbacks: string[]) =>
    errbacks.reduce<Canvas>((one, errback) => withErrback(one, task(errback)), task(name))

  it('fails with a ChordError that names the culprit', () => {
    const [row, ...others] = failed(a).settled
    assert.deepEqual(row?.error, { type: 'ChordError', message: 'Dependency x raised TypeError: no number', traceback: null }) // 116, 124
    assert.deepEqual([row?.message.options.settledBy, row?.message.rootId, row?.message.parentId], ['x', 'root', 'parent'])
    assert.deepEqual(others, [])
  })

  it('sends the errbacks of the body once, for the id of the body', () => {
    const following = failed(withErrback(a, signature('log', { options: { errback: true } })))
    const [message] = sent(following)
    const [request, why, traceback] = message?.args ?? []
    assert.equal(sent(following).length, 1) // 116
    assert.ok(isJsonObject(request))
    assert.equal(request['id'], '1')
    assert.deepEqual(why, { type: 'ChordError', message: 'Dependency x raised TypeError: no number' })
    assert.equal(traceback, null) // 135
    assert.deepEqual([message?.parentId, message?.rootId, message?.expires], ['1', 'root', null])
  })

  it('that is a chain fails in every step, and sends the errbacks of its first', () => {
    const following = failed(chained(watched('a', 'log'), watched('b', 'log', 'page'), c))
    assert.deepEqual(
      rows(following).map(([, name, status, type]) => [name, status, type]),
      ['a', 'b', 'c'].map((name) => [name, 'FAILURE', 'ChordError']),
    ) // 118
    assert.deepEqual(calls(following), [['log', '1']])
  })

  it('that is a group fails in every member, none of them revoked, and sends the errbacks of each', () => {
    const following = failed(grouped(watched('a', 'log'), chained(watched('b', 'page'), c)))
    assert.deepEqual(
      rows(following),
      [
        ['2', 'a'],
        ['3', 'b'],
        ['4', 'c'],
      ].map((row) => [...row, 'FAILURE', 'ChordError']),
    ) // 119
    assert.deepEqual(calls(following), [
      ['log', '2'],
      ['page', '3'],
    ])
  })

  it('that is a chord sends the errbacks of its own body', () => {
    const following = failed(chorded([watched('a', 'log')], watched('b', 'page')))
    assert.deepEqual(
      rows(following).map(([, name]) => name),
      ['a', 'b'],
    )
    assert.deepEqual(calls(following), [['page', '3']])
  })

  it('arrives as failed in the group it counts in, and is named there', () => {
    const frozen = freeze(chorded([chorded([a], b)], c), counting())
    assert.ok(frozen.kind === 'chord' && frozen.header[0]?.kind === 'chord')
    const [row] = failBody(frozen.header[0].body, culprit, started(a).context).settled
    assert.deepEqual(
      [row?.arrival?.groupId, row?.arrival?.taskId, row?.arrival?.culprit, row?.arrival?.end.status],
      ['1', '4', '4', 'FAILURE'],
    )
  })
})
