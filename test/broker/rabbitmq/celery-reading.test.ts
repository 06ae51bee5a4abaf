import assert from 'node:assert/strict'
import { deflateSync, gzipSync } from 'node:zlib'
import { type Arrived, readCelery } from '../../../src/lib/broker/rabbitmq/celery-reading.js'
import { renameLongs } from '../../../src/lib/broker/rabbitmq/python-longs.js'
import { readCeleryTime } from '../../../src/lib/canvas/celery-time.js'
import { decodeFields, encodedFields } from '../../helpers/amqp-tables.js'
import { arrivedAs, capture } from '../../helpers/celery-captures.js'
import { aMessage } from '../../helpers/rows.js'
import { DAWN } from '../../helpers/world.js'

const HEADERS = { task: 't', id: 'a' }
const BODY = '[[1], {"k": 2}, null]'

/** A message as another program might send it. */
function arrived(body: string | Buffer = BODY, headers: object = {}, properties: object = {}): Arrived {
  return {
    fields: { exchange: 'celery', routingKey: 'elsewhere' },
    properties: { contentType: 'application/json', ...properties, headers: { ...HEADERS, ...headers } },
    content: Buffer.from(body as string),
  }
}

function read(one: Arrived) {
  const { message, fault } = readCelery(one, 'q', DAWN)
  assert.equal(fault, null)
  assert.ok(message)
  return message
}

const PLAIN = aMessage({ id: 'a', task: 't', args: [1], kwargs: { k: 2 }, queue: 'q' })

describe('a message from another program', () => {
  it('needs no more than a task, an id and a body of three; it belongs to the queue it came from', () => {
    assert.deepEqual(read(arrived()), PLAIN)
  })

  it('may be of protocol 1', () => {
    const message = read(arrivedAs(capture('protocol_1')))
    const { id, task, args, options } = message
    assert.deepEqual([id, task, args], ['e3503ad7-89cb-42c3-8f33-c3c66e247a82', 'tasks.add', [2, 2]])
    assert.deepEqual([message.eta, message.expires], [Date.UTC(2026, 10, 21, 1, 56, 12, 260), Date.UTC(2026, 10, 21, 1, 56, 42, 260)])
    assert.deepEqual(
      options.link?.map((one) => one.kind === 'task' && one.task),
      ['tasks.multiply'],
    )
    const bare = { fields: { exchange: '', routingKey: 'q' }, properties: { contentType: 'application/json' } }
    const text = '{"id": "a", "task": "t", "args": [1], "kwargs": {"k": 2}, "taskset": "g"}'
    assert.deepEqual(read({ ...bare, content: Buffer.from(text) }), { ...PLAIN, groupId: 'g' })
  })

  it('may have its body packed', () => {
    for (const body of [deflateSync(BODY), gzipSync(BODY)]) {
      assert.deepEqual(read(arrived(body, { compression: 'application/x-gzip' })), PLAIN)
    }
  })

  it('may hold numbers that JSON does not have, and texts that look like them', () => {
    const message = read(arrived('[[NaN, -Infinity, "NaN \\" Infinity", [Infinity]], {"NaN": 1}, {}]'))
    assert.deepEqual([message.args, message.kwargs], [[null, null, 'NaN " Infinity', [null]], { NaN: 1 }])
  })

  it('is no child of its own when Celery has retried it', () => {
    assert.equal(read(arrived(BODY, { parent_id: 'a', retries: 1 })).parentId, null)
  })

  it('is run once more where one callback is not in a list, or an object is the body', () => {
    const link = { task: 'x' }
    assert.equal(read(arrived(`[[], {}, {"callbacks": ${JSON.stringify(link)}}]`)).options.link?.length, 1)
    assert.deepEqual(read(arrived('{"args": [1], "kwargs": {"k": 2}}')), PLAIN)
  })

  it('keeps its own headers, whatever AMQP makes of them, without those of RabbitMQ', () => {
    const own = {
      at: { '!': 'timestamp', value: 1_700_000_000 },
      sum: { '!': 'decimal', value: { digits: 125, places: 2 } },
      raw: Buffer.from('ü'),
    }
    const { headers } = read(arrived(BODY, { ...own, 'x-death': [{ count: 1 }], 'x-delivery-count': 3, stamps: {} })).options
    assert.deepEqual(headers, { at: '2023-11-14T22:13:20.000Z', sum: 1.25, raw: 'ü' })
  })

  it('begins no earlier than its eta, to the part of a millisecond', () => {
    const times: readonly (readonly [string, number | null])[] = [
      ['2031-01-02T03:04:05.678901+00:00', Date.UTC(2031, 0, 2, 3, 4, 5, 679)],
      ['2031-01-02T03:04:05.678000+00:00', Date.UTC(2031, 0, 2, 3, 4, 5, 678)],
      ['2031-01-02T03:04:05+02:00', Date.UTC(2031, 0, 2, 1, 4, 5)],
      ['2031-01-02T03:04:05.5-0130', Date.UTC(2031, 0, 2, 4, 34, 5, 500)],
      ['2031-01-02 03:04:05', Date.UTC(2031, 0, 2, 3, 4, 5)],
      ['2031-01-02T03:04Z', Date.UTC(2031, 0, 2, 3, 4)],
      ['2031-01-02T03:04:05.123456789Z', Date.UTC(2031, 0, 2, 3, 4, 5, 124)],
      ['+010000-01-01T00:00:00.000000+00:00', Date.UTC(10_000, 0)],
      ['2031-13-02T03:04:05Z', null],
      ['2031-01-02', null],
      ['tomorrow', null],
      ['', null],
    ]
    for (const [text, instant] of times) assert.equal(readCeleryTime(text), instant, text)
  })
})

describe('a message that cannot be run', () => {
  const faults: Readonly<Record<string, readonly [Arrived, string]>> = {
    'has no content type': [arrived(BODY, {}, { contentType: undefined }), 'content type: expected application/json, got: none'],
    'is a pickle': [
      arrived(BODY, {}, { contentType: 'application/x-python-serialize' }),
      'content type: expected application/json, got: application/x-python-serialize',
    ],
    'is packed otherwise': [
      arrived(BODY, { compression: 'application/x-bz2' }),
      'compression: expected zlib or gzip, got: application/x-bz2',
    ],
    'is not packed as it says': [arrived(BODY, { compression: 'zlib' }), 'body: it cannot be unpacked: incorrect header check'],
    'is no JSON': [arrived('{'), 'body: expected JSON: '],
    'has a body of two': [arrived('[[], {}]'), 'body: expected [args, kwargs, embed], got: an array of 2'],
    'has no args': [arrived('[null, {}, {}]'), 'args: expected an array, got: null'],
    'has no kwargs': [arrived('[[], null, {}]'), 'kwargs: expected an object, got: null'],
    'has a list for embed': [arrived('[[], {}, []]'), 'embed: expected an object, got: []'],
    'has a number for eta': [arrived(BODY, { eta: 1.5 }), 'eta: expected a time in ISO 8601, got: 1.5'],
    'has no time for expires': [arrived(BODY, { expires: 'later' }), 'expires: expected a time in ISO 8601, got: "later"'],
    'has no count of retries': [arrived(BODY, { retries: -1 }), 'retries: expected a whole number, 0 or more, got: -1'],
    'has no limits': [arrived(BODY, { timelimit: ['x', null] }), 'timelimit: expected seconds above 0, at most 2147483, got: "x"'],
    'is followed by no signature': [
      arrived('[[], {}, {"chain": [[1]]}]'),
      'chain[0]: expected a signature, which is an object with the name of a task, got: [1]',
    ],
    'has a task without a name': [arrived(BODY, { task: 5 }), 'task: expected the name of a task, got: 5'],
  }
  for (const [name, [one, expected]] of Object.entries(faults)) {
    it(`because it ${name} keeps its id and says why`, () => {
      const { message, fault } = readCelery(one, 'q', DAWN)
      assert.equal(fault?.startsWith(expected), true, `${fault}`)
      assert.equal(message?.id, 'a')
    })
  }

  it('for want of an id says that alone', () => {
    const nameless = [arrived(BODY, { id: undefined }), arrived(BODY, { id: '' }), arrived(BODY, { id: 'x'.repeat(256) })]
    const strange = {
      fields: { exchange: '', routingKey: 'q' },
      properties: { contentType: 'application/json' },
      content: Buffer.from(BODY),
    }
    for (const one of [...nameless, strange, { ...strange, properties: {} }, { ...strange, content: Buffer.from('{}') }]) {
      const { message, fault } = readCelery(one, 'q', DAWN)
      assert.equal(message, null)
      assert.match(fault ?? '', /^(id: expected|expected a task message|content type: expected)/)
    }
  })
})

describe('the headers of a message from Python', () => {
  /** A frame of AMQP with the properties of a message, as RabbitMQ sends it, and what comes after it. */
  function frame(table: Buffer, after = 'next'): Buffer {
    const properties = [Buffer.from('\x10application/json\x05utf-8', 'latin1'), uint32(table.length), table, Buffer.from([2])]
    const payload = Buffer.concat([Buffer.from([0, 60, 0, 0]), Buffer.alloc(8), Buffer.from([0xf0, 0]), ...properties])
    return Buffer.concat([Buffer.from([2, 0, 1]), uint32(payload.length), payload, Buffer.from([0xce]), Buffer.from(after)])
  }

  function uint32(n: number): Buffer {
    const buffer = Buffer.alloc(4)
    buffer.writeUInt32BE(n)
    return buffer
  }

  function renamed(rest: Buffer): Buffer {
    const copy = Buffer.from(rest)
    renameLongs(copy)
    return copy
  }

  const nested = [[{ L: { '!': 'long', value: 7 } }], 'L']
  const fields = { s: 'LLL', n: null, t: true, d: 1.5, i: { '!': 'int', value: 300 }, a: nested, l: { '!': 'long', value: 5e9 } }

  it('may hold numbers beyond 32 bits, which amqplib does not know by the letter they have', () => {
    const table = encodedFields(fields)
    const pythons = Buffer.from(table)
    for (const value of [7, 5e9]) {
      const bytes = Buffer.alloc(9, 'l')
      bytes.writeBigInt64BE(BigInt(value), 1)
      pythons[pythons.indexOf(bytes)] = 'L'.charCodeAt(0)
    }
    assert.throws(() => decodeFields(pythons), /Unexpected type tag "L"/)
    assert.deepEqual(renamed(frame(pythons)), frame(table))
    assert.deepEqual(decodeFields(table)['l'], 5e9)
  })

  it('stay as they are in frames of other kinds, and until the whole of the frame has come', () => {
    const whole = frame(encodedFields(fields), '')
    whole[whole.length - 11] = 'L'.charCodeAt(0)
    for (let end = 0; end < whole.length; end++) assert.deepEqual(renamed(whole.subarray(0, end)), whole.subarray(0, end))
    assert.notDeepEqual(renamed(whole), whole)
    whole[0] = 1
    assert.deepEqual(renamed(whole), whole)
  })
})
