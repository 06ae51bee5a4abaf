import assert from 'node:assert/strict'
import { decodeEvents } from '../../src/lib/celery/events.js'
import { goldenEvents } from '../helpers/celery-events.js'

const decode = (body: unknown) => decodeEvents(Buffer.from(JSON.stringify(body)))
const event = (type: string, fields: object = {}) => ({ type, hostname: 'w1@host', pid: 7, timestamp: 1.5, uuid: 'id-1', ...fields })

describe('a message of events', () => {
  it('as a real worker or client wrote it, is read', () => {
    for (const { type, body } of goldenEvents()) {
      const { events, unreadable } = decodeEvents(body)
      assert.deepEqual([events.map(({ kind }) => kind), unreadable], [[type.split('-')[1]], 0], type)
    }
  })

  it('may hold many', () => {
    assert.equal(decode([event('task-started'), event('worker-heartbeat'), event('task-succeeded')]).events.length, 3)
    assert.deepEqual(decode([]), { events: [], unreadable: 0 })
  })

  it('may hold events of the user’s own, which mean nothing here', () => {
    assert.deepEqual(decode([event('task-progress'), event('custom'), event('worker-moved')]), { events: [], unreadable: 0 })
  })

  it('may hold numbers that JSON does not know', () => {
    const body = '[{"type": "task-started", "hostname": "w", "pid": NaN, "timestamp": 1.5, "uuid": "NaN", "load": -Infinity}]'
    assert.deepEqual(decodeEvents(Buffer.from(body)).events, [{ kind: 'started', id: 'NaN', host: 'w', pid: 0, at: 1500 }])
  })

  it('tells how much of it is not as Celery writes it, and spoils nothing else', () => {
    const bad = [null, 5, {}, { type: 5 }, event('task-started', { uuid: 5 }), event('task-started', { uuid: 'x'.repeat(256) })]
    const worse = [event('task-started', { timestamp: '1' }), event('task-started', { hostname: '' }), event('task-received')]
    assert.deepEqual(
      [decode([...bad, ...worse, event('task-started')])].map(({ events, unreadable }) => [events.length, unreadable]),
      [[1, 9]],
    )
    for (const text of ['', 'no JSON', '{"type": ', '\u{80}'])
      assert.deepEqual(decodeEvents(Buffer.from(text)), { events: [], unreadable: 1 })
  })

  it('has times as instants, with an offset or in UTC', () => {
    const eta = (text: string | null) => {
      const [found] = decode(event('task-received', { name: 'add', retries: 0, eta: text })).events
      return found && 'eta' in found ? found.eta : undefined
    }
    const at = Date.UTC(2031, 0, 2, 3, 4, 5, 678)
    assert.deepEqual(['2031-01-02T03:04:05.678901+00:00', '2031-01-02T05:04:05.678901+02:00', '2031-01-02T03:04:05.678901'].map(eta), [
      at,
      at,
      at,
    ])
    assert.deepEqual([eta('2031-01-02T03:04:05'), eta('soon'), eta(null)], [at - 678, null, null])
  })

  it('of a retry, which names itself as its parent, has none', () => {
    const parent = (parent_id: string) =>
      decode(event('task-received', { name: 'add', parent_id })).events.map((one) => 'parentId' in one && one.parentId)
    assert.deepEqual([parent('id-1'), parent('id-0')], [[null], ['id-0']])
  })
})
