import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { unzipSync } from 'node:zlib'
import fc from 'fast-check'
import { type AmqpNumber, type AmqpValue, jsonOfAmqp } from '../../../src/lib/broker/rabbitmq/amqp-headers.js'
import { type CeleryMessage, celeryMessage, PROTOCOL_HEADERS } from '../../../src/lib/broker/rabbitmq/celery-message.js'
import { readCelery } from '../../../src/lib/broker/rabbitmq/celery-reading.js'
import { argsRepr, kwargsRepr } from '../../../src/lib/broker/rabbitmq/python-repr.js'
import { readCeleryTime } from '../../../src/lib/canvas/celery-time.js'
import { chain, chord, group } from '../../../src/lib/canvas/compose.js'
import { freeze } from '../../../src/lib/canvas/freeze.js'
import { chunks, map, starmap } from '../../../src/lib/canvas/iterate.js'
import { begin } from '../../../src/lib/canvas/launch.js'
import { withErrback } from '../../../src/lib/canvas/signature.js'
import { isJsonObject, type Json, type JsonObject } from '../../../src/lib/task/json.js'
import type { TaskMessage } from '../../../src/lib/task/message.js'
import type { Canvas } from '../../../src/lib/task/signature.js'
import { anyCanvas } from '../../canvas/random-canvas.js'
import { decodeFields, encodedFields } from '../../helpers/amqp-tables.js'
import { arrivedAs, CAPTURES, type Capture, contentOf, essence } from '../../helpers/celery-captures.js'
import { aMessage } from '../../helpers/rows.js'
import { si, sig } from '../../helpers/workflows.js'
import { DAWN } from '../../helpers/world.js'

const US = { origin: 'gen1@here', replyTo: 'nobody' }

function read(one: Capture): TaskMessage {
  const { message, fault } = readCelery(arrivedAs(one), one.routingKey, DAWN)
  assert.equal(fault, null)
  assert.ok(message)
  return message
}

/** What a message says, apart from what Celery and we say each in a way of our own, and times as instants. */
function said({ exchange, routingKey, properties, headers, body }: Omit<CeleryMessage, 'body'> & { readonly body: Buffer }): Json {
  const { lang: _l, origin: _o, argsrepr: _a, kwargsrepr: _k, taskledger: _t, compression: _c, ...told } = jsonOfAmqp(headers) as JsonObject
  const { deliveryMode: _d, priority = 0, expiration: _e, ...props } = properties as unknown as JsonObject
  const times = { eta: instant(told['eta']), expires: instant(told['expires']) }
  const [args, kwargs, embed] = JSON.parse(body.toString()) as [Json, Json, Json]
  return { exchange, routingKey, properties: { ...props, priority }, headers: { ...told, ...times }, body: [args, kwargs, essence(embed)] }
}

const instant = (time: Json | undefined): number | null => (typeof time === 'string' ? readCeleryTime(time) : null)

const plain = (one: Capture): Buffer => (one.bodyBase64 === undefined ? contentOf(one) : unzipSync(contentOf(one)))

const sentBy = ({ headers }: Capture): boolean => 'task' in headers

describe('a message that Celery published', () => {
  for (const one of CAPTURES.filter(sentBy)) {
    it(`is read, and sent on as it came: ${one.capture}`, () => {
      const message = read(one)
      const sent = celeryMessage(message, US, DAWN)
      const came = { ...one, properties: one.properties as never, headers: one.headers as never, body: plain(one) }
      // a task that Celery retries names itself as its parent; that is no tree
      const parent = one.headers['parent_id'] === message.id ? { parent_id: null } : {}
      const expected = said(came) as { headers: JsonObject }
      assert.deepEqual(said(sent), { ...expected, headers: { ...expected.headers, ...parent } })
    })
  }
})

/** The calls of some captures, as this program makes them. */
const CALLS: Readonly<Record<string, Canvas>> = {
  delay: sig('tasks.add', [2, 2]),
  delay_kwargs: { ...sig('tasks.add'), kwargs: { x: 2, y: 2 } },
  apply_async_countdown: sig('tasks.add', [2, 2], { countdown: 30 }),
  apply_async_eta_offset: sig('tasks.add', [2, 2], { eta: Date.UTC(2031, 0, 2, 1, 4, 5) }),
  apply_async_expires_number: sig('tasks.add', [2, 2], { expires: 7200 }),
  apply_async_headers: sig('tasks.add', [2, 2], {
    headers: { tenant: 'acme', trace: { id: 'abc', n: 5 }, list: [1, 'a', null, true, 1.5] },
  }),
  apply_async_ignore_result: sig('tasks.add', [2, 2], { ignoreResult: true }),
  apply_async_queue: sig('tasks.add', [2, 2], { queue: 'hipri' }),
  apply_async_priority: sig('tasks.add', [2, 2], { priority: 7 }),
  apply_async_time_limits: sig('tasks.slow', [1], { timeLimit: 300, softTimeLimit: 240 }),
  apply_async_link: sig('tasks.add', [2, 2], { link: [sig('tasks.multiply', [10])] }),
  apply_async_link_immutable: sig('tasks.add', [2, 2], { link: [si('tasks.multiply', [10, 10])] }),
  apply_async_link_list: sig('tasks.add', [2, 2], {
    link: [sig('tasks.multiply', [10]), { ...sig('tasks.add'), kwargs: { y: 100 } }],
  }),
  apply_async_link_error_list: sig('tasks.fail', ['boom'], {
    linkError: [sig('tasks.error_handler'), sig('tasks.error_handler_new')],
  }),
  apply_async_expires_float: sig('tasks.add', [2, 2], { expires: 1.5 }),
  apply_async_task_id: sig('tasks.add', [2, 2], { taskId: 'my-own-id-0001' }),
  partial_immutable: si('tasks.add', [4, 4]),
  send_task_by_name: { ...sig('other.module.unknown_task', [1, 'zwei']), kwargs: { três: 3 } },
  apply_async_link_error: sig('tasks.fail', ['boom'], { linkError: [sig('tasks.error_handler')] }),
  chain_of_3: chain([sig('tasks.add', [2, 2]), sig('tasks.multiply', [10]), sig('tasks.add', [1])]),
  chain_on_error: withErrback(chain([sig('tasks.add', [2, 2]), sig('tasks.multiply', [10])]), sig('tasks.error_handler')),
  chain_with_link_error_per_task: chain([sig('tasks.add', [2, 2]), withErrback(sig('tasks.fail'), sig('tasks.error_handler'))]),
  chain_expires_link_error: withErrback(
    chain([sig('tasks.process_article', [1], { expires: 7200 }), sig('tasks.generate_thumbnail'), sig('tasks.notify_subscribers')]),
    sig('tasks.notify_failure'),
  ),
  chain_ending_in_group: chain([sig('tasks.add', [1, 1]), group([sig('tasks.add', [10]), sig('tasks.add', [20])])]),
  chain_containing_group: chain([sig('tasks.add', [1, 1]), group([sig('tasks.add', [10]), sig('tasks.add', [20])]), sig('tasks.tsum')]),
  group_of_3: group([sig('tasks.add', [1, 1]), sig('tasks.add', [2, 2]), sig('tasks.add', [3, 3])]),
  chord_3_body: chord([sig('tasks.add', [1, 1]), sig('tasks.add', [2, 2]), sig('tasks.add', [3, 3])], sig('tasks.tsum')),
  map: map(sig('tasks.tsum'), [
    [1, 2],
    [3, 4],
  ]),
  starmap: starmap(sig('tasks.add'), [
    [1, 2],
    [3, 4],
  ]),
  chunks_5_by_2: chunks(
    sig('tasks.add'),
    [0, 1, 2, 3, 4].map((n) => [n, n]),
    2,
  ),
}

const UUID = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g

/** What the ledger keeps and Celery has to carry along: a chord's body, the ids of a group and of a tree before they are needed. */
const LEFT_OUT = ['chord', 'group_id', 'root_id']

/** Messages side by side, each id as the place it is first seen at. */
function comparable(messages: readonly Json[], leftOut: readonly string[]): string {
  const text = JSON.stringify(messages, (key, value) => {
    if (leftOut.includes(key)) return undefined
    if (!isJsonObject(value)) return value
    const group = value['subtask_type'] === 'group' || value['subtask_type'] === 'chord' ? { options: {}, task: null } : {}
    return Object.fromEntries(Object.entries({ ...value, ...group }).sort(([a], [b]) => (a < b ? -1 : 1)))
  })
  const seen = [...new Set(text.match(UUID))]
  return text.replaceAll(UUID, (id) => `id ${seen.indexOf(id)}`)
}

describe('a call of ours is the same message as with Celery', () => {
  for (const [name, canvas] of Object.entries(CALLS)) {
    it(name, () => {
      const captures = CAPTURES.filter((one) => one.capture === name || one.capture.replace(/ \d+$/, '') === name)
      const [first] = captures
      assert.ok(first)
      const countdown = { apply_async_countdown: 30_000, apply_async_expires_float: 1500 }[name] ?? 7_200_000
      const now = (instant(first.headers['eta'] ?? first.headers['expires']) ?? DAWN) - countdown
      const at = name === 'apply_async_eta_offset' ? DAWN : now
      const context = { rootId: null, parentId: null, deadline: null, now: at, newId: randomUUID, defaultQueue: 'celery', routes: {} }
      const { messages } = begin(canvas, [], context)
      const publishing = { ...US, replyTo: randomUUID() }
      const sent = messages.map((message) => celeryMessage(message, publishing, at))
      const came = captures.map((one) =>
        said({ ...one, properties: one.properties as never, headers: one.headers as never, body: plain(one) }),
      )
      const leftOut = name === 'chord_3_body' ? [...LEFT_OUT, 'group_index'] : LEFT_OUT // the ledger counts its header
      assert.equal(comparable(sent.map(said), leftOut), comparable(came, leftOut))
    })
  }

  it('down to the types of its headers', () => {
    for (const one of CAPTURES.filter(sentBy)) {
      const { headers } = celeryMessage(read(one), US, DAWN)
      const { compression: _, ...expected } = one.headerTypes
      const types = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, typeOf(value)]))
      assert.deepEqual(types, {
        ...expected,
        taskledger: 'S',
        ...(one.headers['parent_id'] === one.headers['id'] ? { parent_id: 'V' } : {}),
      })
    }
  })
})

/** AMQP's letter for what amqplib makes of a value. */
function typeOf(value: AmqpValue): Json {
  if (value === null) return 'V'
  if (typeof value === 'string') return 'S'
  if (typeof value === 'boolean') return 't'
  if (Array.isArray(value)) return { A: value.map(typeOf) }
  if ('!' in value) return { int: 'I', long: 'l', double: 'd' }[(value as AmqpNumber)['!']]
  return { F: Object.fromEntries(Object.entries(value as object).map(([key, inner]) => [key, typeOf(inner)])) }
}

describe('a message of ours', () => {
  const instantOf = fc.integer({ min: 0, max: Date.UTC(3000, 0) })
  const id = fc.string({ minLength: 1, maxLength: 40 })
  const json = fc.jsonValue({ noUnicodeString: false }).map((value) => JSON.parse(JSON.stringify(value)) as Json)
  const object = fc.dictionary(fc.string(), json).map((value) => JSON.parse(JSON.stringify(value)) as JsonObject)
  const given = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined })
  const limit = fc.double({ min: 0.001, max: 2_147_483, noNaN: true })
  const linked = fc.array(anyCanvas, { minLength: 1, maxLength: 2 })
  const anyMessage = fc
    .record({
      id,
      task: id,
      args: fc.array(json),
      kwargs: object,
      priority: fc.integer({ min: 0, max: 255 }),
      eta: fc.option(instantOf),
      expires: fc.option(instantOf),
      retries: fc.nat(),
      parentId: fc.option(id),
      rootId: id,
      groupId: fc.option(id),
      groupIndex: fc.option(fc.nat()),
      retryOf: fc.option(id),
      periodicName: fc.option(id),
      submittedAt: instantOf,
      options: fc
        .record({
          headers: given(fc.dictionary(fc.oneof(fc.string(), fc.constantFrom(...PROTOCOL_HEADERS, '__proto__', '!')), json)),
          ignoreResult: given(fc.constant(true)),
          resultExpires: given(fc.option(fc.nat())),
          acksLate: given(fc.constant(true)),
          onWorkerLost: given(fc.constantFrom('fail', 'retry')),
          softTimeLimit: given(limit),
          timeLimit: given(limit),
          turn: given(fc.nat()),
          link: given(linked),
          linkError: given(linked),
          chain: given(
            fc.oneof(
              linked,
              linked.map((steps) => steps.map((step) => freeze(step, randomUUID))),
            ),
          ),
          deadline: given(instantOf),
          celery: given(fc.constantFrom({ shadow: 'other' }, { reply_to: 'me', chord: { task: 'body' } })),
        })
        .map((options) => JSON.parse(JSON.stringify(options)) as TaskMessage['options']),
    })
    .map(
      (message): TaskMessage => ({
        ...message,
        queue: 'q',
        exchange: '',
        routingKey: 'q',
        parentId: message.parentId === message.id ? null : message.parentId,
      }),
    )

  it('is read as the message it was written from', () => {
    fc.assert(
      fc.property(anyMessage, (message) => {
        const { exchange, routingKey, properties, headers, body } = celeryMessage(message, US, DAWN)
        const received = { ...properties, headers: decodeFields(encodedFields(headers)) }
        const reading = readCelery({ fields: { exchange, routingKey }, properties: received, content: body }, 'q', DAWN)
        assert.deepEqual(reading, { message, fault: null })
      }),
    )
  })

  it('fits into the headers however long its arguments are, and says so in them', () => {
    const { headers } = celeryMessage(aMessage({ args: ['x'.repeat(100_000)], kwargs: { k: ['y'.repeat(100_000)] } }), US, DAWN)
    assert.match(String(headers['argsrepr']), /^\('xxx.*x\.\.\.$/)
    assert.match(String(headers['kwargsrepr']), /^\{'k': \['yyy.*y\.\.\.$/)
    assert.ok(encodedFields(headers).length < 4096)
  })

  it('shows its arguments as Python does', () => {
    const args = [1, 1.5, true, null, "it's", 'a "b"', 'both \' "', 'line\n\t\u0001\\', [1, [2]], { k: 'v' }, 'ünï']
    assert.equal(argsRepr(args), `(1, 1.5, True, None, "it's", 'a "b"', 'both \\' "', 'line\\n\\t\\x01\\\\', [1, [2]], {'k': 'v'}, 'ünï')`)
    assert.deepEqual([argsRepr([]), argsRepr([2]), kwargsRepr({}), kwargsRepr({ x: 2 })], ['()', '(2,)', '{}', "{'x': 2}"])
  })

  it('says of what follows in how many seconds it expires: Celery 5.2 cannot send on what expires at an instant', () => {
    const link = sig('linked', [], { expiresAt: DAWN - 1 })
    const step = sig('next', [], { expiresAt: DAWN + 1500, link: [link] })
    const message = aMessage({ options: { chain: [{ kind: 'group', members: [step] }] } })
    const celery = celeryMessage(message, US, DAWN)
    const [, , { chain }] = JSON.parse(celery.body.toString())
    const { expires, link: links } = chain[0].kwargs.tasks[0].options
    assert.deepEqual([expires, links[0].options.expires], [1.5, 0])
    const { exchange, routingKey, properties, headers, body } = celery
    const received = { fields: { exchange, routingKey }, properties: { ...properties, headers }, content: body }
    assert.deepEqual(readCelery(received, message.queue, DAWN).message, message) // a Node worker is told the instant
  })

  it('expires in the queue as well, unless that is too far off for RabbitMQ', () => {
    const expiration = (expires: number | null) => celeryMessage(aMessage({ expires }), US, DAWN).properties.expiration
    assert.deepEqual([null, DAWN + 1500, DAWN - 1, DAWN + 2 ** 32].map(expiration), [undefined, '1500', '0', undefined])
  })
})
