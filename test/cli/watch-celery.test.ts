import assert from 'node:assert/strict'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { isDeepStrictEqual } from 'node:util'
import { createApp } from '../../src/lib/app/app.js'
import { chord } from '../../src/lib/app/canvas.js'
import type { TaskRow } from '../../src/lib/ledger/row.js'
import { CelerySite } from '../helpers/celery.js'
import { needs } from '../helpers/services.js'
import { ended, openSite, type Site } from '../helpers/site.js'
import { until } from '../helpers/until.js'
import { openVhost, type Vhost } from '../helpers/vhost.js'

/** Seconds. */
const LEASE = '3'

const rowOf = async (site: Site, id: string) => (await site.app.tasks.get(id)) as TaskRow | null
const becomes = (site: Site, id: string, status: string) =>
  until(async () => {
    const row = await rowOf(site, id)
    return row?.status === status && row
  }, `${id} to become ${status}`)

/** Each stale task by its id, and why. */
const stale = async (site: Site): Promise<Record<string, string>> =>
  Object.fromEntries((await site.app.tasks.findStale()).map(({ taskId, reason }) => [taskId, reason]))

/** Waits for the list to be this: on a slow machine a heartbeat may be late, and a worker lost for a moment. */
const staleAre = (site: Site, wanted: Readonly<Record<string, string>>) =>
  until(async () => isDeepStrictEqual(await stale(site), wanted), `the stale tasks to be ${JSON.stringify(wanted)}`)

describe('watch-celery', function () {
  this.timeout(60_000)
  let vhost: Vhost
  let celery: CelerySite

  before(async function () {
    await needs(this, 'RabbitMQ', 'Celery')
    vhost = await openVhost()
    celery = new CelerySite(vhost.url, 'watched')
    await celery.worker('w1', '-E')
  })

  after(async () => {
    await celery?.[Symbol.asyncDispose]()
    await vhost?.[Symbol.asyncDispose]()
  })

  const watching = async (site: Site, ...flags: string[]) => {
    const watch = site.start('watch-celery', vhost.url, ...flags)
    await watch.said('Watching')
    return watch
  }

  it('records what becomes of tasks that a real Celery publishes and runs', async () => {
    await using site = await openSite({ TASKLEDGER_LEASE: LEASE })
    await watching(site)
    const [add = '', fail = '', flaky = '', reject = '', unknown = '', unreadable = '', long = '', later = ''] = await celery.publish(
      ['add', [2, 2]],
      ['fail', ["it's broken"]],
      ['flaky', [2]],
      ['reject', []],
      ['other.task', [1]],
      ['unreadable', [7], { shadow: 'shown' }],
      ['sleep', [600]],
      ['add', [1, 2], { countdown: 600, expires: 900 }],
    )
    await becomes(site, long, 'STARTED')
    await celery.publish(['terminate', [long]])
    const rows = {
      add: await becomes(site, add, 'SUCCESS'),
      fail: await becomes(site, fail, 'FAILURE'),
      flaky: await becomes(site, flaky, 'SUCCESS'),
      reject: await becomes(site, reject, 'FAILURE'),
      unknown: await becomes(site, unknown, 'FAILURE'),
      unreadable: await becomes(site, unreadable, 'SUCCESS'),
      long: await becomes(site, long, 'REVOKED'),
      later: await becomes(site, later, 'PENDING'),
    }
    assert.deepEqual(
      Object.values(rows).map(({ task, args, result, retries, errorType, errorMessage }) => [
        task,
        args,
        result,
        retries,
        errorType,
        errorMessage,
      ]),
      [
        ['tasks.add', [2, 2], 4, 0, null, null],
        ['tasks.fail', ["it's broken"], null, 0, 'ValueError', "it's broken"],
        ['tasks.flaky', [2], 2, 2, null, null],
        ['tasks.reject', [], null, 0, 'Reject', 'the task rejected its message'],
        ['other.task', [1], null, 0, 'NotRegistered', 'other.task'],
        ['tasks.unreadable', [7], { repr: '{7}' }, 0, null, null],
        ['tasks.sleep', [600], null, 0, 'TaskRevokedError', 'terminated'],
        ['tasks.add', [1, 2], null, 0, null, null],
      ],
    )
    assert.deepEqual(new Set(Object.values(rows).map(({ queue }) => queue)), new Set(['watched']))
    assert.match(rows.fail.traceback ?? '', /^Traceback \(most recent call last\):\n.*\nValueError: it's broken\n$/s)
    assert.equal(rows.add.workerId, 'w1@test')
    assert.equal(rows.later.eta && rows.later.expires && Math.round((Number(rows.later.expires) - Number(rows.later.eta)) / 1000), 300)
    const { attempts = [], children = [] } = (await site.app.tasks.history(flaky)) ?? {}
    assert.deepEqual(
      attempts.map(({ kind, errorType, errorMessage }) => [kind, errorType, errorMessage]),
      [
        ['retry', 'ConnectionError', 'attempt 0'],
        ['retry', 'ConnectionError', 'attempt 1'],
      ],
    )
    assert.deepEqual(children, [])
    assert.deepEqual(await stale(site), {})
  })

  it('ends the rows of tasks that were published here, and sends what follows to the broker that it watches', async () => {
    await using site = await openSite()
    await watching(site)
    const app = createApp({ database: site.url, broker: vhost.url, routes: { 'tasks.*': 'watched', 'node.*': 'body-of-chord' } })
    try {
      const add = app.signature('tasks.add')
      const result = await chord([add.clone([1, 1]), add.clone([2, 2])], app.signature('node.sum') as never).applyAsync()
      const body = await until(async () => {
        const row = await rowOf(site, result?.id ?? '')
        return row?.publishedAt && row
      }, 'the body to be sent')
      assert.deepEqual([body.args, body.queue, await vhost.queues('body-of-chord')], [[[2, 4]], 'body-of-chord', ['body-of-chord']])
      const failed = await app.sendTask('tasks.fail', ["it's broken"])
      await assert.rejects(failed.get({ timeout: 15 }), { name: 'ValueError', message: "it's broken" })
    } finally {
      await app.close()
    }
  })

  it('has find-stale-tasks list what a killed worker was running, and only that, as lost', async () => {
    await using site = await openSite({ TASKLEDGER_LEASE: LEASE })
    await using other = new CelerySite(vhost.url, 'killed')
    const worker = await other.worker('w2', '-E')
    await watching(site)
    const [killed = '', waiting = '', running = ''] = [
      ...(await other.publish(['sleep', [600]], ['add', [1, 1], { queue: 'nobody' }])),
      ...(await celery.publish(['sleep', [600]])),
    ]
    for (const id of [killed, running]) await becomes(site, id, 'STARTED')
    await becomes(site, waiting, 'PENDING')
    await staleAre(site, { [killed]: 'stuck', [waiting]: 'unclaimed', [running]: 'stuck' })
    worker.kill()
    await staleAre(site, { [killed]: 'lost', [waiting]: 'unclaimed', [running]: 'stuck' })
    await celery.publish(['terminate', [running]])
    await becomes(site, running, 'REVOKED')
  })

  it('asks workers that send no events to send them only when it is told to, also those that start later', async () => {
    await using site = await openSite()
    await using silent = new CelerySite(vhost.url, 'silent', false)
    await silent.worker('w3')
    const passive = await watching(site)
    const [unheard = ''] = await silent.publish(['add', [1, 1]])
    const [heard = ''] = await celery.publish(['add', [2, 2]])
    await becomes(site, heard, 'SUCCESS')
    assert.equal(await rowOf(site, unheard), null)
    passive.signal('SIGTERM')
    await passive.end()

    const active = await watching(site, '--enable-events')
    const published = async () => {
      const [id = ''] = await silent.publish(['add', [1, 1]])
      return rowOfSoon(site, id)
    }
    const row = await until(published, 'the worker to send events')
    assert.deepEqual([row.args, row.queue], [[1, 1], ''])
    await using late = new CelerySite(vhost.url, 'late', false)
    await late.worker('w4')
    await active.said('w4@test is online')
    await until(async () => rowOfSoon(site, (await late.publish(['add', [3, 3]]))[0] ?? ''), 'the late worker to send events')
  })

  it('says so when it is to ask workers for events and none has ever run', async () => {
    await using site = await openSite()
    await using empty = await openVhost()
    const watch = site.start('watch-celery', empty.url, '--enable-events')
    await watch.said('no Celery worker has run on this broker yet: nobody could be asked to send events')
    watch.signal('SIGTERM')
    assert.deepEqual(await watch.end(), ended(0))
  })

  it('goes on where the watch before it stopped, and changes nothing that is written', async () => {
    await using site = await openSite({ TASKLEDGER_LEASE: '30' })
    const first = await watching(site)
    const [done = '', long = ''] = await celery.publish(['add', [2, 2]], ['sleep', [600]])
    await becomes(site, done, 'SUCCESS')
    await becomes(site, long, 'STARTED')
    const before = await rowOf(site, done)
    first.signal('SIGINT')
    assert.deepEqual(await first.end(), ended(0))
    await watching(site)
    await celery.publish(['terminate', [long]])
    const row = await becomes(site, long, 'REVOKED')
    assert.deepEqual([row.task, row.args, row.errorMessage], ['tasks.sleep', [600], 'terminated'])
    assert.deepEqual(await rowOf(site, done), before)
  })

  it('comes back by itself when the broker hangs up', async () => {
    await using site = await openSite()
    await using proxy = await openProxy()
    const watch = site.start('watch-celery', vhost.url.replace(':5672', `:${proxy.port}`))
    await watch.said('Watching')
    proxy.hangUp()
    await watch.said('is lost')
    await watch.said('Watching', 2)
    const [id = ''] = await celery.publish(['add', [2, 2]])
    await becomes(site, id, 'SUCCESS')
    assert.ok(![...watch.stderr].join().includes('guest:'))
  })

  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    it(`on ${signal} writes what came, leaves no queue, and exits 0`, async () => {
      await using site = await openSite()
      const watch = await watching(site, '--json')
      const [id = ''] = await celery.publish(['add', [2, 2]])
      await becomes(site, id, 'SUCCESS')
      watch.signal(signal)
      assert.deepEqual(await watch.end(), ended(0))
      await until(async () => (await vhost.queues('celeryev.')).length === 0, 'its queue to go')
      const { events, recorded, ...document } = JSON.parse(watch.stdout.join('\n'))
      const watched = `celery ${vhost.url.replace('guest:guest@', '')}`
      assert.deepEqual(document, { version: 1, kind: 'watch-celery', watched, unreadable: 0 })
      assert.ok(events >= 4 && recorded === 1, `${events} events, ${recorded} recorded`)
    })
  }

  it('logs with --log-format json one object a line, and with --quiet errors alone', async () => {
    await using site = await openSite()
    const quiet = site.start('watch-celery', vhost.url, '--quiet')
    const watch = await watching(site, '--log-format', 'json')
    await until(async () => (await vhost.queues('celeryev.')).length === 2, 'both to listen')
    const [id = ''] = await celery.publish(['add', [2, 2]])
    await becomes(site, id, 'SUCCESS')
    for (const one of [watch, quiet]) one.signal('SIGTERM')
    assert.deepEqual([await watch.end(), await quiet.end()], [ended(0), ended(0)])
    const lines = watch.stderr.map((line) => JSON.parse(line))
    assert.deepEqual([lines[0].level, lines[0].event], [30, 'watching'])
    assert.equal(lines.at(-1).msg, 'Stopped.')
    assert.deepEqual([quiet.stdout, quiet.stderr], [[], []])
  })

  it('exits 69 where it is not let in, and tells no password', async () => {
    await using site = await openSite()
    for (const url of [vhost.url.replace('guest:guest', 'guest:s3cret'), `${vhost.url}-gone`.replace('guest:guest', 'guest:guest')]) {
      const { stdout, stderr, code } = await site.run(['watch-celery', url])
      assert.deepEqual([stdout, code], ['', 69])
      assert.match(stderr, /^taskledger: RabbitMQ at amqp:\/\/127\.0\.0\.1:5672\/taskledger-test-\S+ cannot be reached: /)
      assert.ok(!stderr.includes('s3cret') && !stderr.includes('guest:guest'))
    }
  })
})

describe('watch-celery, without a broker', () => {
  it('exits 69 when there is nobody', async () => {
    await using site = await openSite()
    const { stderr, code } = await site.run(['watch-celery', 'amqp://ada:s3cret@127.0.0.1:1/prod'])
    assert.equal(code, 69)
    assert.match(
      stderr,
      /^taskledger: RabbitMQ at amqp:\/\/127\.0\.0\.1:1\/prod cannot be reached: connect ECONNREFUSED 127\.0\.0\.1:1\n {2}check /,
    )
    assert.ok(!stderr.includes('s3cret'))
  })

  it('exits 2 for what is no URL of RabbitMQ’s, and tells none of it', async () => {
    await using site = await openSite()
    for (const url of ['rabbit', 'redis://:s3cret@host', 'amqp://ada:s3cret@host:port']) {
      const { stderr, code } = await site.run(['watch-celery', url])
      assert.equal(code, 2, url)
      assert.match(stderr, /^taskledger: the URL of Celery's broker: expected amqp:\/\/USER:PASSWORD@HOST:PORT\/VHOST, got /)
      assert.ok(!stderr.includes('s3cret'))
    }
    assert.match((await site.run(['watch-celery'])).stderr, /expected the URL of Celery's broker, got none/)
  })

  it('exits 78 when amqplib is not installed, and says what to install', async () => {
    await using site = await openSite()
    const { stderr, code } = await site.run(['watch-celery', 'amqp://127.0.0.1:1'], {
      env: { NODE_OPTIONS: `--import ${WITHOUT_AMQPLIB}` },
    })
    assert.equal(code, 78)
    assert.match(
      stderr,
      /^taskledger: a Celery cluster on RabbitMQ is watched with the package amqplib, which is not installed\n {2}npm install amqplib\n/,
    )
  })

  it('exits 78 when there is no ledger', async () => {
    await using site = await openSite({ TASKLEDGER_DATABASE: 'sqlite:nowhere.db' })
    assert.equal((await site.run(['watch-celery', 'amqp://127.0.0.1:1'])).code, 78)
  })
})

const moduleOf = (text: string): string => `data:text/javascript,${encodeURIComponent(text)}`

/** Has Node find every package but this one. */
const HOOK = `export function resolve(name, context, next) {
  if (name === 'amqplib') throw Object.assign(new Error('Cannot find package'), { code: 'ERR_MODULE_NOT_FOUND' })
  return next(name, context)
}`
const WITHOUT_AMQPLIB = moduleOf(`import { register } from 'node:module'; register(${JSON.stringify(moduleOf(HOOK))})`)

/** The row, if it comes within a moment. */
async function rowOfSoon(site: Site, id: string): Promise<TaskRow | null> {
  return until(() => rowOf(site, id), `a row of ${id}`, 1500).catch(() => null)
}

/** A way to the broker that can be cut. */
async function openProxy(): Promise<AsyncDisposable & { readonly port: number; hangUp(): void }> {
  const open = new Set<Socket>()
  const server = createServer((client) => {
    const broker = connect(5672, '127.0.0.1')
    for (const [from, to] of [
      [client, broker],
      [broker, client],
    ] as const) {
      open.add(from)
      from.pipe(to)
      from.on('error', () => {})
      from.on('close', () => to.destroy())
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const hangUp = () => {
    for (const socket of open) socket.destroy()
    open.clear()
  }
  return {
    port: (server.address() as AddressInfo).port,
    hangUp,
    async [Symbol.asyncDispose]() {
      hangUp()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
