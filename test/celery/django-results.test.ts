import assert from 'node:assert/strict'
import knex, { type Knex } from 'knex'
import { DjangoStore } from '../../src/lib/celery/django-store.js'
import { type CeleryEnd, celeryEnd } from '../../src/lib/celery/result-form.js'
import { POSTGRES } from '../../src/lib/database/postgres-dialect.js'
import type { Sql } from '../../src/lib/database/sql.js'
import { ConfigurationError } from '../../src/lib/task/errors.js'
import { CeleryClient, messageFrom, type Published } from '../helpers/celery-client.js'
import { type CeleryStage, openCeleryStage } from '../helpers/celery-stage.js'
import { needs } from '../helpers/services.js'
import { until } from '../helpers/until.js'
import { DAWN, openWorld } from '../helpers/world.js'

const RESULTS = 'django_celery_results_taskresult'

describe("results for Celery's clients, in the tables of django-celery-results", function () {
  this.timeout(60_000)
  let w: CeleryStage

  before(async function () {
    await needs(this, 'Celery', 'Django')
    w = await openCeleryStage('django')
  })

  after(() => w?.[Symbol.asyncDispose]())

  it('answer a client, and raise what the task threw', async () => {
    await using _ = w.work()
    assert.deepEqual(await w.client.get((await w.call('add.delay(2, 2)')).id), { value: 4 })
    const failed = await w.call("fail.delay('boom')")
    assert.deepEqual(await w.client.get(failed.id), { raised: 'ValueError', module: 'builtins', args: ['boom'] })
    const look = await w.client.ask({ do: 'look', id: failed.id })
    assert.match(String(look['traceback']), /ValueError: boom/)
    assert.equal(look['done'], true)
  })

  it('tell of a chain by its last step, and name what a task sent as its children', async () => {
    await using _ = w.work()
    const good = await w.call('chain(add.s(1, 1), add.s(10)).apply_async()')
    assert.deepEqual(await w.client.get(good.id), { value: 12 })
    assert.deepEqual((await w.client.ask({ do: 'look', id: good.parent ?? '' }))['children'], [good.id])
    const bad = await w.call("chain(fail.s('x'), add.s(10)).apply_async()")
    assert.deepEqual(await w.client.get(bad.id), { raised: 'ValueError', module: 'builtins', args: ['x'] })
  })

  it('are in the commit that ends the task: who sees the one sees the other', async () => {
    await using _ = w.work()
    const { id } = await w.call('add.delay(3, 3)')
    await until(async () => {
      const [both] = await w.database.all<{ ended: number; stored: number }>(
        `SELECT (SELECT count(*) FROM task_result WHERE task_id = ? AND finished_at IS NOT NULL) AS ended,
                (SELECT count(*) FROM ${RESULTS} WHERE task_id = ?) AS stored`,
        [id, id],
      )
      assert.equal(both?.ended, both?.stored)
      return both?.ended === 1
    }, 'the task to end')
    assert.deepEqual(await w.untold(), [])
  })

  it('reach the body of a chord, half of whose header ran in Python, whoever ends the last member', async () => {
    const byNode = await w.client.send('chord([add.s(1, 1), add.s(2, 2)])(echo.s())')
    await w.runInPython(byNode.messages[1]!, { value: 4 })
    await using _ = w.work()
    await w.take(byNode.messages[0]!)
    assert.deepEqual(await w.client.get(byNode.id), { value: [2, 4] })
    const byPython = await w.client.send('chord([add.s(1, 1), add.s(2, 2)])(echo.s())')
    await w.take(byPython.messages[0]!)
    await w.client.get(String(byPython.messages[0]!.headers['id']))
    const { messages } = await w.runInPython(byPython.messages[1]!, { value: 4 })
    assert.equal(messages[0]?.headers['id'], byPython.id)
    assert.deepEqual(await w.client.get(byPython.id), { value: [2, 4] })
    assert.deepEqual(await w.database.all('SELECT 1 FROM django_celery_results_chordcounter', []), [])
  })

  it('fail the body of a chord with a member that failed', async () => {
    await using _ = w.work()
    const { id, messages } = await w.call("chord([add.s(1, 1), fail.s('hdr')])(tsum.s().on_error(note.s()))")
    await until(async () => (await w.app.tasks.get(id))?.status === 'FAILURE', 'the body to fail')
    const [row] = await w.database.all<{ result: string }>(`SELECT result FROM ${RESULTS} WHERE task_id = ?`, [id])
    assert.deepEqual(JSON.parse(row?.result ?? ''), {
      exc_type: 'ChordError',
      exc_message: [`Dependency ${messages[1]?.headers['id']} raised ValueError: hdr`],
      exc_module: 'celery.exceptions',
    })
    await until(() => w.noted.some(([told]) => told === id), 'the errback')
  })

  it('need the tables: without them the program says what to do', async () => {
    await using bare = await openWorld()
    await assert.rejects(
      bare.join({ celeryResults: 'django' }),
      (error: Error) => error instanceof ConfigurationError && /has no table django_celery_results_taskresult/.test(error.message),
    )
  })
})

describe('the tables of django-celery-results in PostgreSQL', function () {
  this.timeout(60_000)
  const own = `taskledger_results_${process.pid}`
  const server = { host: '127.0.0.1', user: 'postgres' }
  let admin: Knex
  let database: Knex
  let client: CeleryClient

  before(async function () {
    await needs(this, 'PostgreSQL', 'Celery', 'Django')
    admin = knex({ client: 'pg', connection: { ...server, database: 'postgres' } })
    await admin.raw(`CREATE DATABASE ${own}`)
    database = knex({ client: 'pg', connection: { ...server, database: own } })
    client = CeleryClient.open(`django-postgres:${own}`)
    await client.ask({ do: 'migrate' })
  })

  after(async () => {
    await client?.[Symbol.asyncDispose]()
    await database?.destroy()
    await admin?.raw(`DROP DATABASE IF EXISTS ${own} WITH (FORCE)`)
    await admin?.destroy()
  })

  const sql: Sql = {
    dialect: POSTGRES,
    all: async <Row>(text: string, bindings: readonly (string | number | null)[]) =>
      (await database.raw(text, [...bindings])).rows as Row[],
    run: async (text, bindings) => (await database.raw(text, [...bindings])).rowCount as number,
  }
  const endOf = (published: Published, value: number): CeleryEnd => {
    const around = { children: [], at: DAWN, keepsErrors: false }
    const end = celeryEnd(messageFrom(published, DAWN), { status: 'SUCCESS', value }, around)
    assert.ok(end)
    return end
  }

  it('hold what a client reads, with the instant it was stored at', async () => {
    const store = await DjangoStore.open(sql)
    const { id, messages } = await client.send('add.delay(2, 2)')
    await store.store(sql, endOf(messages[0]!, 4))
    assert.deepEqual(await client.get(id), { value: 4 })
    const { rows } = await database.raw(`SELECT date_done FROM ${RESULTS} WHERE task_id = ?`, [id])
    assert.equal(rows[0].date_done.getTime(), DAWN)
  })

  it('count the members of a chord together with Python, each once', async () => {
    const store = await DjangoStore.open(sql)
    const { messages } = await client.send('chord([add.s(1, 1), add.s(2, 2), add.s(3, 3)])(tsum.s())')
    assert.equal(await store.store(sql, endOf(messages[0]!, 2)), null)
    assert.equal(await store.store(sql, endOf(messages[0]!, 2)), null)
    await client.ask({ do: 'run', message: messages[1] as never, value: 4 })
    assert.deepEqual(await store.store(sql, endOf(messages[2]!, 6)), { kind: 'complete', results: [2, 4, 6] })
  })

  it('take a success after a failure that was told before, and keep a success', async () => {
    const store = await DjangoStore.open(sql)
    const { messages } = await client.send('chord([add.s(1, 1), add.s(2, 2)])(tsum.s())')
    const id = String(messages[0]!.headers['id'])
    await client.ask({ do: 'run', message: messages[0] as never, error: 'of Python' })
    assert.equal(await store.store(sql, endOf(messages[0]!, 2)), null)
    const { rows } = await database.raw('SELECT count FROM django_celery_results_chordcounter WHERE sub_tasks LIKE ?', [`%${id}%`])
    assert.deepEqual(rows, [{ count: 1 }])
    await store.store(sql, endOf(messages[0]!, 3))
    const [row] = (await database.raw(`SELECT status, result FROM ${RESULTS} WHERE task_id = ?`, [id])).rows
    assert.deepEqual(row, { status: 'SUCCESS', result: '2' })
  })
})
