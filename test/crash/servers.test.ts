import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { workThrough } from '../helpers/at-work.js'
import { type Databases, POSTGRES, SQLITE } from '../helpers/databases.js'
import { type OwnPostgres, type OwnRabbit, ownPostgres, ownRabbit } from '../helpers/own-server.js'
import { postgresSuite } from '../helpers/postgres.js'
import { TcpProxy } from '../helpers/proxy.js'
import { openProxy, openRabbit } from '../helpers/rabbitmq.js'
import { needs } from '../helpers/services.js'
import { until } from '../helpers/until.js'
import { RABBITMQ } from '../helpers/vhost.js'
import { openWorld, type World } from '../helpers/world.js'

/** Seconds. */
const LEASE = 2

/** Cuts connections in the middle of what is said: of their first words, of what is asked then, of messages. */
async function cutWithin(proxy: TcpProxy): Promise<void> {
  for (const side of ['client', 'server'] as const) {
    for (const bytes of [1, 100, 400, 700, 1500, 4000]) {
      const cut = proxy.cutAfter(bytes, side)
      proxy.cut()
      await cut
    }
  }
}

const said = (w: World, what: RegExp) => w.errors.some((error) => what.test((error as Error).message))

/** What a connection may suffer, and whether its end is noticed by itself. */
const FAULTS: readonly (readonly [what: string, happens: (proxy: TcpProxy, w: World) => Promise<unknown>])[] = [
  [
    'cut, three times',
    async (proxy) => {
      for (const _ of [1, 2, 3]) {
        proxy.cut()
        await sleep(300)
      }
    },
  ],
  ['cut in the middle of a message, again and again', cutWithin],
  [
    'half open: what the server says, confirms among it, is lost, and then the connection',
    async (proxy) => {
      proxy.silence('server')
      await sleep(500)
      proxy.cut()
      proxy.thaw()
    },
  ],
  [
    'frozen until the heartbeat is missed',
    async (proxy, w) => {
      proxy.freeze()
      await until(() => said(w, /Heartbeat timeout/), 'the heartbeat to be missed')
      proxy.cut()
      proxy.thaw()
    },
  ],
]

async function throughProxy(databases: Databases, happens: (proxy: TcpProxy, w: World) => Promise<unknown>): Promise<void> {
  await using rabbit = await openRabbit()
  const { proxy, url } = await openProxy('/%2F?heartbeat=1')
  await using _proxy = proxy
  const settings = { broker: url, defaultQueue: rabbit.queue('default'), lease: LEASE }
  await using w = await openWorld({ settings, now: Date.now, databases })
  await workThrough(w, () => happens(proxy, w))
}

postgresSuite(() => {
  describe('work through RabbitMQ goes on, and nothing is missing', function () {
    this.timeout(120_000)

    before(function () {
      return needs(this, 'RabbitMQ')
    })

    for (const databases of [SQLITE, POSTGRES]) {
      for (const [what, happens] of FAULTS) {
        it(`when its connections are ${what}; the ledger in ${databases.name}`, () => throughProxy(databases, happens))
      }
    }
  })

  describe('work through a RabbitMQ server goes on, and nothing is missing', function () {
    this.timeout(180_000)
    let server: OwnRabbit

    before(async function () {
      await needs(this, 'RabbitMQ to start')
      server = await ownRabbit()
    })

    after(async () => {
      await server?.[Symbol.asyncDispose]()
    })

    for (const [what, databases, happens] of [
      ['when an operator closes its connections', SQLITE, () => server.closeConnections()],
      ['when it crashes and is started again', SQLITE, () => server.crash().then(() => server.start())],
      ['when it is stopped and started again', POSTGRES, () => server.stop().then(() => server.start())],
    ] as const) {
      it(`${what}; the ledger in ${databases.name}`, async () => {
        await using w = await openWorld({ settings: { broker: server.url, lease: LEASE }, now: Date.now, databases })
        await workThrough(w, happens)
        assert.ok(said(w, /RabbitMQ at/), 'it was noticed')
      })
    }
  })

  describe('work on a PostgreSQL server goes on, and nothing is missing but what is listed as lost', function () {
    this.timeout(180_000)
    let server: OwnPostgres
    let url: string

    before(async function () {
      await needs(this, 'PostgreSQL to start')
      server = await ownPostgres()
    })

    beforeEach(async () => {
      await server.start() // a test that failed may have left it stopped
      url = await server.newDatabase()
    })

    after(async () => {
      await server?.[Symbol.asyncDispose]()
    })

    const within = (url: string): Databases => ({ name: 'PostgreSQL', make: async () => ({ url, remove: async () => {} }) })

    for (const [what, end] of [
      ['crashes', () => server.crash()],
      ['is stopped', () => server.stop()],
    ] as const) {
      it(`when it ${what} in the middle and is started again, with the embedded broker`, async () => {
        await using w = await openWorld({ settings: { lease: LEASE }, now: Date.now, databases: within(url) })
        await workThrough(w, () => end().then(() => server.start()), { mayLose: true })
      })
    }

    it('when it crashes in the middle and is started again, with RabbitMQ', async function () {
      await needs(this, 'RabbitMQ')
      await using rabbit = await openRabbit()
      const settings = { broker: RABBITMQ, defaultQueue: rabbit.queue('default'), lease: LEASE }
      await using w = await openWorld({ settings, now: Date.now, databases: within(url) })
      await workThrough(w, () => server.crash().then(() => server.start()), { mayLose: true })
    })

    it('when it crashes in the middle of a transaction, which is done again', async () => {
      await using w = await openWorld({ now: Date.now, databases: within(url) })
      let times = 0
      const sent = await w.database.write(async (sql) => {
        times += 1
        await sql.run("INSERT INTO task_rate (task, next_at) VALUES ('a', 1)", [])
        if (times === 1) await server.crash().then(() => server.start())
        return sql.run("INSERT INTO task_rate (task, next_at) VALUES ('b', 1)", [])
      })
      assert.deepEqual(
        [sent, times, await w.database.all('SELECT task FROM task_rate ORDER BY task', [])],
        [1, 2, [{ task: 'a' }, { task: 'b' }]],
      )
    })

    for (const [what, happens] of [
      ['are cut, three times', FAULTS[0]?.[1]],
      ['are cut in the middle of a message, again and again', cutWithin],
      [
        'are half open: what the server says is lost, and then they are cut',
        async (proxy: TcpProxy) => {
          proxy.silence('server')
          await sleep(500)
          proxy.cut()
          proxy.thaw()
        },
      ],
      [
        'are frozen for longer than a lease, and go on',
        async (proxy: TcpProxy) => {
          proxy.freeze()
          await sleep(1500 * LEASE)
          proxy.thaw()
        },
      ],
    ] as const) {
      it(`when its connections ${what}, with the embedded broker`, async () => {
        const far = new URL(url)
        await using proxy = await TcpProxy.open({ host: '127.0.0.1', port: Number(far.port) })
        far.port = String(proxy.port)
        await using w = await openWorld({ settings: { lease: LEASE }, now: Date.now, databases: within(far.href) })
        await workThrough(w, () => happens?.(proxy, w) ?? Promise.resolve(), { mayLose: true })
      })
    }
  })
})
