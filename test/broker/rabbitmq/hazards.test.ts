import assert from 'node:assert/strict'
import { celeryTime } from '../../../src/lib/canvas/celery-time.js'
import { findTask } from '../../../src/lib/ledger/find.js'
import { openRabbit, openRabbitWorld, type Rabbit, type RabbitWorld } from '../../helpers/rabbitmq.js'
import { needs } from '../../helpers/services.js'
import { until } from '../../helpers/until.js'
import { working } from '../../helpers/working.js'

/** What is odd about a message; the rest is as Celery would send it. */
interface Odd {
  readonly headers?: object | null
  readonly properties?: object
  readonly body?: unknown
  readonly text?: string
}

/** What becomes of it: its result, the status of its row and why, or nothing of it but a word to the operator. */
type End = { readonly result: unknown } | { readonly status: string; readonly error?: string } | { readonly reported: RegExp }

const FIVE: End = { result: 5 }
const waits: End = { status: 'PENDING' }
const invalid = (error: string): End => ({ status: 'FAILURE', error: `InvalidTaskError: ${error}` })
const who = (headers: object, expected: object): readonly [Odd, End] => [{ headers: { task: 'whoami', ...headers } }, { result: expected }]
const signature = (given: object) => ({ task: 'add', args: [], kwargs: {}, options: {}, subtask_type: null, immutable: true, ...given })
const following = (embed: object): Odd => ({ body: [[2, 3], {}, embed] })
const next = (name: string) => ({ args: [1, 1], options: { task_id: name } })

/** The odd messages that a real Celery worker was given once, by the same names, and what becomes of them here. */
const CASES: Readonly<Record<string, readonly [Odd, End]>> = {
  ok: [{}, FIVE],
  int16_timelimit: [{ headers: { timelimit: [300, 240] } }, FIVE],
  int16_last_header: who({ zz: 300 }, { zz: 300 }),
  int16_retries: [{ headers: { retries: 200 } }, FIVE],
  int8_negative: who({ neg: -1 }, { neg: -1 }),
  int8_retries0: [{ headers: { retries: 0 } }, FIVE],
  int64: who({ big: 1_700_000_000_000 }, { big: 1_700_000_000_000 }),
  int64_negative: who({ big: -1_700_000_000_000 }, { big: -1_700_000_000_000 }),
  uint16: who({ u: { '!': 'unsignedshort', value: 40_000 } }, { u: 40_000 }),
  timestamp_header: who({ ts: { '!': 'timestamp', value: 1_700_000_000 } }, { ts: '2023-11-14T22:13:20.000Z' }),
  eta_ms_z: [{ headers: { eta: '2026-01-01T02:10:31.054Z' } }, FIVE],
  eta_999ms: [{ headers: { eta: '2026-01-01T02:10:31.999Z' } }, FIVE],
  eta_nanos: [{ headers: { eta: '2130-01-01T00:00:00.123456789Z' } }, waits],
  eta_no_tz: [{ headers: { eta: '2130-01-01T02:10:44' } }, waits],
  eta_number: [{ headers: { eta: 1795227048.776 } }, invalid('eta: expected a time in ISO 8601, got: 1795227048.776')],
  eta_garbage: [{ headers: { eta: 'tomorrow' } }, invalid('eta: expected a time in ISO 8601, got: "tomorrow"')],
  eta_space_sep: [{ headers: { eta: '2026-01-01 02:10:58.338000+00:00' } }, FIVE],
  expires_number: [{ headers: { expires: 60 } }, invalid('expires: expected a time in ISO 8601, got: 60')],
  no_headers: [{ headers: null }, { reported: /expected a task message, got one without the header task$/ }],
  no_id: [{ headers: { id: undefined } }, { reported: /id: expected a text, got: nothing$/ }],
  no_lang: [{ headers: { lang: undefined } }, FIVE],
  no_content_type: [{ properties: { contentType: undefined } }, invalid('content type: expected application/json, got: none')],
  no_content_encoding: [{ properties: { contentEncoding: undefined } }, FIVE],
  wrong_content_type: [{ properties: { contentType: 'text/plain' } }, invalid('content type: expected application/json, got: text/plain')],
  ctype_with_charset: [
    { properties: { contentType: 'application/json; charset=utf-8' } },
    invalid('content type: expected application/json, got: application/json; charset=utf-8'),
  ],
  encoding_upper: [{ properties: { contentEncoding: 'UTF-8' } }, FIVE],
  encoding_binary: [{ properties: { contentEncoding: 'binary' } }, FIVE],
  body_object: [{ body: { args: [2, 3], kwargs: {} } }, FIVE],
  body_two: [{ body: [[2, 3], {}] }, invalid('body: expected [args, kwargs, embed], got: an array of 2')],
  body_plain_args: [{ body: [2, 3] }, invalid('body: expected [args, kwargs, embed], got: an array of 2')],
  kwargs_null: [{ body: [[2, 3], null, {}] }, invalid('kwargs: expected an object, got: null')],
  args_null: [{ body: [null, {}, {}] }, invalid('args: expected an array, got: null')],
  embed_null: [{ body: [[2, 3], {}, null] }, FIVE],
  body_invalid_json: [{ text: '{[' }, invalid('body: expected JSON: ')],
  unknown_task: [
    { headers: { task: 'nope.nope' } },
    { status: 'FAILURE', error: "NotRegistered: no task named 'nope.nope' is registered; this worker knows add, whoami" },
  ],
  wrong_arity: [{ body: [[2, 3, 4], {}, {}] }, FIVE],
  chain_wrong_shape: [
    following({ chain: [{ task: 'add' }, 'add'] }),
    invalid('chain[1]: expected a signature, which is an object with the name of a task, got: "add"'),
  ],
  chain_no_task_id: [following({ chain: [signature({ args: [1, 1] })] }), FIVE],
  chain_minimal_sig: [following({ chain: [{ task: 'add', ...next('minimal') }] }), FIVE],
  callbacks_no_immutable: [following({ callbacks: [{ task: 'add', ...next('callback') }] }), FIVE],
  timestamp_property: [{ properties: { timestamp: 1_700_000_000, type: 'x', appId: 'y', messageId: 'z' } }, FIVE],
  priority_200: [{ properties: { priority: 200 } }, FIVE],
  lang_js: [{ headers: { lang: 'js' } }, FIVE],
  id_int: [{ headers: { id: 4711 } }, FIVE],
}

async function send(w: RabbitWorld, id: string, { headers = {}, properties = {}, body = [[2, 3], {}, {}], text }: Odd): Promise<void> {
  const queue = w.rabbit.queue('default')
  await w.rabbit.channel.assertQueue(queue)
  const usual = { lang: 'py', task: 'add', id, eta: null, expires: null, retries: { '!': 'int', value: 0 }, timelimit: [null, null] }
  w.rabbit.channel.sendToQueue(queue, Buffer.from(text ?? JSON.stringify(body)), {
    contentType: 'application/json',
    contentEncoding: 'utf-8',
    correlationId: id,
    ...properties,
    headers: headers && { ...usual, ...headers },
  } as never)
}

/** Has a connection write the letter of Python's library before each long that is called `now`. */
function writeLongsAsPython({ connection }: Rabbit): void {
  const { stream } = connection.connection as unknown as { readonly stream: { write(bytes: Buffer): boolean } }
  const write = stream.write.bind(stream)
  stream.write = (bytes) => {
    const at = bytes.indexOf('\x03nowl')
    if (at >= 0) bytes[at + 4] = 'L'.charCodeAt(0)
    return write(bytes)
  }
}

async function openWorker() {
  const w = await openRabbitWorld({ lease: 0.6, concurrency: 1 })
  w.app.task('add', (x: number, y: number) => x + y)
  w.app.task({ name: 'whoami', bind: true }, (task) => task.request.headers)
  return { w, worker: working(w.app) }
}

/** A worker that is still alive runs what comes after. */
async function stillServes(w: RabbitWorld): Promise<void> {
  const after = await w.app.sendTask('add', [1, 1])
  assert.equal(await after.get({ timeout: 10 }), 2)
  await until(async () => (await w.rabbit.count('default'))?.ready === 0, 'the queue to be empty')
}

describe('an odd message of Celery kind', () => {
  before(function () {
    return needs(this, 'RabbitMQ')
  })

  for (const [name, [odd, end]] of Object.entries(CASES)) {
    it(`${name}: is settled and recorded, and the worker goes on`, async () => {
      const { w, worker } = await openWorker()
      await using _w = w
      await using _worker = worker
      await send(w, name, odd)
      await stillServes(w)
      const id = String((odd.headers as { id?: unknown } | null)?.id ?? name)
      if ('reported' in end) {
        assert.equal(await findTask(w.database, id), null)
        await until(() => w.errors.some((error) => end.reported.test((error as Error).message)), 'it to be reported')
        return
      }
      const row = await until(async () => {
        const found = await findTask(w.database, id)
        return found && (found.finishedAt || found.publishedAt === null) ? found : null
      }, 'its row')
      if ('result' in end) assert.deepEqual([row.status, row.result], ['SUCCESS', end.result])
      else {
        assert.equal(row.status, end.status)
        const error = row.errorType === null ? undefined : `${row.errorType}: ${row.errorMessage}`
        assert.ok(error === end.error || (end.error?.endsWith(': ') && error?.startsWith(end.error)), error)
      }
      assert.deepEqual(w.errors, [])
    })
  }

  it('with a number in its headers that only Python writes so is run like any other', async () => {
    const { w, worker } = await openWorker()
    await using _w = w
    await using _worker = worker
    await using python = await openRabbit()
    writeLongsAsPython(python)
    await send(w, 'first', {})
    await send({ ...w, rabbit: { ...python, queue: w.rabbit.queue } }, 'a', {
      headers: { task: 'whoami', now: { '!': 'long', value: 1_795_227_048_776 } },
    })
    await until(async () => (await findTask(w.database, 'a'))?.finishedAt, 'it to run')
    assert.deepEqual((await findTask(w.database, 'a'))?.result, { now: 1_795_227_048_776 })
    assert.deepEqual(w.errors, [])
  })

  it('goes to the dead letters where a policy says so, unless its task ended', async () => {
    await using w = await openRabbitWorld({ lease: 0.6 })
    const [queue, dead] = [w.rabbit.queue('default'), w.rabbit.queue('dead')]
    await w.rabbit.channel.assertQueue(dead)
    const letters = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead }
    await w.rabbit.channel.assertQueue(queue, { arguments: letters })
    w.app.task('add', (x: number, y: number) => x + y)
    await using _worker = working(w.app)
    const send_ = (id: string, headers: object | null, body: unknown) =>
      w.rabbit.channel.sendToQueue(queue, Buffer.from(JSON.stringify(body)), {
        contentType: 'application/json',
        messageId: id,
        headers,
      } as never)
    send_('strange', null, 1)
    send_('faulty', { task: 'add', id: 'faulty' }, [])
    send_('late', { task: 'add', id: 'late', expires: celeryTime(Date.now() - 1000) }, [[1, 2], {}, {}])
    send_('good', { task: 'add', id: 'good' }, [[1, 2], {}, {}])
    await until(async () => (await w.rabbit.count('dead'))?.ready === 2, 'two dead letters')
    for (const expected of ['strange', 'faulty']) {
      const letter = await w.rabbit.channel.get(dead, { noAck: true })
      assert.ok(letter)
      assert.equal(letter.properties.messageId, expected)
    }
    await until(async () => (await findTask(w.database, 'good'))?.status === 'SUCCESS', 'the good one to run')
    assert.deepEqual([(await findTask(w.database, 'faulty'))?.status, (await findTask(w.database, 'late'))?.status], ['FAILURE', 'REVOKED'])
  })
})
