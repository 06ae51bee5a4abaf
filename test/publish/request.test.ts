import assert from 'node:assert/strict'
import { messageFor, type PublishOptions, type TaskDefaults } from '../../src/lib/publish/request.js'
import { UsageError } from '../../src/lib/task/errors.js'
import { NotJsonError } from '../../src/lib/task/json.js'
import type { Routing } from '../../src/lib/task/routing.js'
import { DAWN } from '../helpers/world.js'

const ROUTING: Routing = { defaultQueue: 'default', routes: {} }

const message = (options: PublishOptions = {}, defaults: TaskDefaults = {}, routing = ROUTING, task = 'mail.send') =>
  messageFor(task, ['a@b.c'], options, defaults, routing, null, DAWN)

const refused = (text: string) => (error: Error) => error instanceof UsageError && error.message === text

describe('the message of a publish', () => {
  it('has everything at its default when nothing is said', () => {
    const { id, rootId, ...rest } = message()
    assert.equal(rootId, id)
    assert.deepEqual(rest, {
      task: 'mail.send',
      args: ['a@b.c'],
      kwargs: {},
      queue: 'default',
      exchange: '',
      routingKey: 'default',
      priority: 0,
      eta: null,
      expires: null,
      retries: 0,
      parentId: null,
      groupId: null,
      groupIndex: null,
      retryOf: null,
      periodicName: null,
      options: {},
      submittedAt: DAWN,
    })
  })

  it('counts countdown and expires in seconds from now, and takes instants as they are', () => {
    assert.deepEqual([message({ countdown: 1.5 }).eta, message({ eta: new Date(DAWN + 7) }).eta], [DAWN + 1500, DAWN + 7])
    assert.deepEqual([message({ expires: 1.5 }).expires, message({ expires: new Date(7) }).expires], [DAWN + 1500, 7])
  })

  it('has no eta when the time it names is not in the future', () => {
    for (const options of [{ countdown: 0 }, { eta: new Date(DAWN) }, { eta: new Date(0) }]) assert.equal(message(options).eta, null)
  })

  it('is never due before the instant asked for, whatever fraction of a millisecond that is', () => {
    assert.equal(message({ countdown: 0.0001 }).eta, DAWN + 1)
  })

  it('is a child of the task whose body publishes it, in the same tree', () => {
    const child = messageFor('t', [], {}, {}, ROUTING, { id: 'parent', rootId: 'root' }, DAWN)
    assert.deepEqual([child.parentId, child.rootId], ['parent', 'root'])
  })

  it('carries the options that are not columns, and only those that were given', () => {
    const options = { headers: { trace: '1' }, ignoreResult: true, resultExpires: null }
    assert.deepEqual(message(options, { acksLate: true }).options, { ...options, acksLate: true })
    assert.deepEqual(message({ ignoreResult: false }, { ignoreResult: true, resultExpires: 5 }).options, { resultExpires: 5 })
  })
})

describe('the queue of a publish', () => {
  const routes = { 'mail.*': 'mails', 'mail.send': 'exact', '*': 'rest', 'a?c': 'never' }

  it("is the call's, else the task's, else its route's, else the default", () => {
    const routing = { defaultQueue: 'default', routes: { 'mail.*': 'mails' } }
    assert.equal(message({ queue: 'call' }, { queue: 'task' }, routing).queue, 'call')
    assert.equal(message({}, { queue: 'task' }, routing).queue, 'task')
    assert.equal(message({}, {}, routing).queue, 'mails')
    assert.equal(message({}, {}, routing, 'web.fetch').queue, 'default')
  })

  it('is that of the route with exactly its name, else of the first that matches', () => {
    const queue = (task: string, given: Routing['routes'] = routes) =>
      message({}, {}, { defaultQueue: 'default', routes: given }, task).queue
    assert.deepEqual(
      ['mail.send', 'mail.read', 'web'].map((task) => queue(task)),
      ['exact', 'mails', 'rest'],
    )
    assert.deepEqual(
      ['abc', 'ac', 'abbc'].map((task) => queue(task, { 'a?c': 'one' })),
      ['one', 'default', 'default'],
    )
  })

  it('takes every character of a route but * and ? as itself', () => {
    const queue = (task: string) => message({}, {}, { defaultQueue: 'default', routes: { 'a.b(c)|d+': 'odd', 'x.*': 'x' } }, task).queue
    assert.deepEqual(['a.b(c)|d+', 'aXb(c)|d+', 'd', 'xyz', 'x.\ny'].map(queue), ['odd', 'default', 'default', 'default', 'x'])
  })
})

describe('the exchange of a publish', () => {
  const routes = {
    'video.*': { exchange: 'media', routingKey: 'video.encode' },
    'all.*': { exchange: 'everybody' },
    'mail.*': { queue: 'mails' },
  }
  const where = (options: PublishOptions, defaults: TaskDefaults, task: string) => {
    const { queue, exchange, routingKey } = message(options, defaults, { defaultQueue: 'default', routes }, task)
    return [queue, exchange, routingKey]
  }

  it('is that of its route, with the routing key, and then no queue is known', () => {
    assert.deepEqual(where({}, {}, 'video.cut'), ['', 'media', 'video.encode'])
    assert.deepEqual(where({}, {}, 'all.stop'), ['', 'everybody', ''])
    assert.deepEqual(where({}, {}, 'mail.send'), ['mails', '', 'mails'])
  })

  it("is not the route's where the call or the task says a queue, nor the reverse", () => {
    assert.deepEqual(where({ queue: 'mine' }, {}, 'video.cut'), ['mine', '', 'mine'])
    assert.deepEqual(where({}, { queue: 'its' }, 'video.cut'), ['its', '', 'its'])
    assert.deepEqual(where({ exchange: 'other', routingKey: 'k' }, { queue: 'its' }, 'mail.send'), ['', 'other', 'k'])
    assert.deepEqual(where({ exchange: 'other' }, {}, 'video.cut'), ['', 'other', ''])
  })
})

describe('an option of a publish', () => {
  const wrong: readonly (readonly [object, string])[] = [
    [{ queue: '' }, 'queue: expected a name of 1 to 255 characters, got: '],
    [{ queue: 'x'.repeat(256) }, `queue: expected a name of 1 to 255 characters, got: ${'x'.repeat(256)}`],
    [{ exchange: '' }, 'exchange: expected a name of 1 to 255 characters, got: '],
    [{ exchange: 'x', routingKey: 1 }, 'routingKey: expected a text of up to 255 characters, got: 1'],
    [{ exchange: 'x', queue: 'q' }, 'queue and exchange were both given; give one of them'],
    [{ routingKey: 'k' }, 'routingKey was given without an exchange; give the exchange, or a queue alone'],
    [{ taskId: 7 }, 'taskId: expected a text of 1 to 255 characters, got: 7'],
    [{ priority: 256 }, 'priority: expected a whole number from 0 to 255, got: 256'],
    [{ priority: 1.5 }, 'priority: expected a whole number from 0 to 255, got: 1.5'],
    [{ priority: '5' }, 'priority: expected a whole number from 0 to 255, got: 5'],
    [{ expires: -1 }, 'expires: expected seconds or a Date, got: -1'],
    [{ expires: 'soon' }, 'expires: expected seconds or a Date, got: soon'],
    [{ eta: '2080-01-01' }, 'eta: expected a Date, got: 2080-01-01'],
    [{ eta: new Date(Number.NaN) }, 'eta: expected a Date, got: null'],
    [{ countdown: Number.NaN }, 'countdown: expected seconds, 0 or more, got: NaN'],
    [{ countdown: Number.POSITIVE_INFINITY }, 'countdown: expected seconds, 0 or more, got: Infinity'],
    [{ countdown: 1e15 }, 'countdown: expected seconds, 0 or more, got: 1000000000000000'],
    [{ eta: new Date(0), countdown: 1 }, 'eta and countdown were both given; give one of them'],
    [{ resultExpires: '1d' }, 'resultExpires: expected seconds or null, got: 1d'],
    [{ ignoreResult: 1 }, 'ignoreResult: expected true or false, got: 1'],
    [{ kwargs: [1] }, 'kwargs: expected an object, got: [1]'],
    [{ headers: 'x' }, 'headers: expected an object, got: x'],
    [
      { que: 'q' },
      'there is no publish option named que; the options are kwargs, queue, exchange, routingKey, priority, headers, expires, eta, countdown, ignoreResult, resultExpires, softTimeLimit, timeLimit, taskId, link, linkError, scope, workflowExpires and trx',
    ],
  ]
  for (const [options, text] of wrong) {
    it(`that is ${JSON.stringify(options).slice(0, 40)} is refused with what was expected and what came`, () => {
      assert.throws(() => message(options), refused(text))
    })
  }

  it('may be at either end of what is allowed', () => {
    const options = { queue: 'q'.repeat(255), priority: 255, expires: 0, countdown: 0, resultExpires: 0, kwargs: {}, headers: {} }
    assert.equal(message(options).priority, 255)
    assert.equal(message({ priority: 0 }, { priority: 9 }).priority, 0)
  })
})

describe('the arguments of a publish', () => {
  const publish = (args: readonly unknown[], options: object = {}) => messageFor('t', args, options, {}, ROUTING, null, DAWN)

  it('are refused with their path when JSON cannot carry them', () => {
    const cases: readonly (readonly [() => unknown, string])[] = [
      [() => publish([1, { when: new Date(0) }]), 'args[1].when is a Date, which JSON cannot carry'],
      [() => publish([undefined]), 'args[0] is undefined, which JSON cannot carry'],
      [() => publish([], { kwargs: { 'a b': [Number.NaN] } }), 'kwargs["a b"][0] is NaN, which JSON cannot carry'],
      [() => publish([], { headers: { n: 1n } }), 'headers.n is a bigint, which JSON cannot carry'],
    ]
    for (const [call, text] of cases) assert.throws(call, (error: Error) => error instanceof NotJsonError && error.message === text)
  })

  it('are refused beyond 16 MiB of JSON, not cut', () => {
    assert.throws(() => publish(['x'.repeat(16 * 1024 * 1024)]), /^NotJsonError: args is 16777220 bytes of JSON; the limit is 16777216$/)
  })

  it('are a list, and belong to a task that has a name', () => {
    const call = (task: unknown, args: unknown) => () => messageFor(task as string, args as [], {}, {}, ROUTING, null, DAWN)
    assert.throws(call('t', { a: 1 }), refused('args: expected an array, got: {"a":1}'))
    assert.throws(call('t', 'ab'), refused('args: expected an array, got: ab'))
    assert.throws(call('', []), refused('task: expected a name of 1 to 255 characters, got: '))
    assert.throws(call(undefined, []), refused('task: expected a name of 1 to 255 characters, got: undefined'))
  })
})
