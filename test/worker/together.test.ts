import assert from 'node:assert/strict'
import SqliteDatabase from 'better-sqlite3'
import { itOnSqlBroker, itOnSqlite } from '../helpers/databases.js'
import { assertMessages } from '../helpers/messages.js'
import { refuse } from '../helpers/triggers.js'
import { until } from '../helpers/until.js'
import { commitsIn } from '../helpers/wal.js'
import { gate, working } from '../helpers/working.js'
import { openWorld } from '../helpers/world.js'

const range = (count: number): number[] => Array.from({ length: count }, (_, n) => n)

describe('tasks that start at one time', () => {
  itOnSqlite('are claimed and start in one commit, which also ends those before them', async () => {
    await using w = await openWorld()
    const task = w.app.task('plain', () => 1)
    const results = await Promise.all(range(200).map(() => task.delay()))
    const other = new SqliteDatabase(w.database.name)
    other.pragma('wal_checkpoint(TRUNCATE)')
    await using _ = working(w.app, { concurrency: 50, sender: false })
    await until(async () => (await w.app.tasks.count({ statuses: ['SUCCESS'] })) === 200, 'all to end')
    const commits = await commitsIn(`${w.database.name}-wal`)
    other.close()
    // one for each fifty, and what a worker that comes and looks writes besides
    assert.ok(commits <= 8, `${commits} commits`)
    assert.deepEqual(new Set(await Promise.all(results.map((result) => result.get({ timeout: 10 })))), new Set([1]))
  })

  it('each have their own arguments, result and lateness', async () => {
    await using w = await openWorld()
    const early = w.app.task('early', (n: number) => n)
    const late = w.app.task({ name: 'late', acksLate: true }, (n: number) => [n])
    const results = await Promise.all(range(30).map((n) => (n % 2 ? late.delay(n) : early.delay(n))))
    await using _ = working(w.app, { concurrency: 30 })
    const values = await Promise.all(results.map((result) => result.get({ timeout: 10 })))
    assert.deepEqual(
      values,
      range(30).map((n) => (n % 2 ? [n] : n)),
    )
    await assertMessages(w, 0)
  })

  it('start all the same when one of them cannot, which is found stale', async () => {
    await using w = await openWorld()
    const errors: unknown[] = []
    w.app.on('error', (error) => errors.push(error))
    const task = w.app.task('plain', (n: number) => n)
    const results = await Promise.all(range(10).map((n) => task.applyAsync([n], { taskId: `t${n}` })))
    await refuse(w.database, {
      name: 'never',
      when: 'BEFORE UPDATE',
      table: 'task_result',
      condition: "NEW.status = 'STARTED' AND NEW.task_id = 't3'",
    })
    await using _ = working(w.app, { concurrency: 10 })
    const others = results.filter(({ id }) => id !== 't3')
    assert.deepEqual(await Promise.all(others.map((result) => result.get({ timeout: 10 }))), [0, 1, 2, 4, 5, 6, 7, 8, 9])
    await until(() => errors.length > 0, 'the error to be told')
    assert.match(String(errors[0]), /the disk is full/)
    assert.equal(await results[3]?.state(), 'PENDING')
  })

  it('end all the same when one of them cannot', async () => {
    await using w = await openWorld()
    w.app.on('error', () => {})
    const door = gate()
    const task = w.app.task('plain', async (n: number) => {
      await door.passed
      return n
    })
    const results = await Promise.all(range(10).map((n) => task.delay(n)))
    await refuse(w.database, { name: 'never', when: 'BEFORE UPDATE', table: 'task_result', condition: "NEW.result = '3'" })
    await using _ = working(w.app, { concurrency: 10 })
    await until(async () => (await w.app.tasks.count({ statuses: ['STARTED'] })) === 10, 'all to start')
    door.open()
    const others = results.filter((_result, n) => n !== 3)
    assert.deepEqual(await Promise.all(others.map((result) => result.get({ timeout: 10 }))), [0, 1, 2, 4, 5, 6, 7, 8, 9])
    assert.equal(await results[3]?.state(), 'STARTED')
  })

  itOnSqlBroker('run once of a task whose message came twice', async () => {
    await using w = await openWorld()
    let runs = 0
    const task = w.app.task('plain', () => {
      runs += 1
    })
    const results = await Promise.all(range(5).map(() => task.delay()))
    const columns = 'task_id, queue, priority, body'
    await w.database.run(`INSERT INTO task_message (${columns}) SELECT ${columns} FROM task_message`, [])
    await using _ = working(w.app, { concurrency: 10 })
    await Promise.all(results.map((result) => result.get({ timeout: 10 })))
    await until(async () => (await w.database.all('SELECT 1 FROM task_message', [])).length === 0, 'every message to be settled')
    assert.equal(runs, 5)
  })

  it('leave their slots to others as soon as their bodies have ended, and no body too many runs', async () => {
    await using w = await openWorld()
    let running = 0
    let most = 0
    const task = w.app.task('plain', async () => {
      most = Math.max(most, ++running)
      await new Promise((resolve) => setImmediate(resolve))
      running -= 1
    })
    const results = await Promise.all(range(600).map(() => task.delay()))
    await using _ = working(w.app, { concurrency: 6 })
    await Promise.all(results.map((result) => result.get({ timeout: 10 })))
    assert.ok(most <= 6, `${most} at one time`)
  })
})
