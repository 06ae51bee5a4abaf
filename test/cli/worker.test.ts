import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { inWordsOf } from '../helpers/databases.js'
import { ROOT } from '../helpers/run.js'
import { side } from '../helpers/side-effects.js'
import { ended, HOUR, openSite, type Site } from '../helpers/site.js'
import { until } from '../helpers/until.js'

const APP = ['--app', 'test/fixtures/app.mjs']

const call = (site: Site, task: string, id: string, ...args: unknown[]) => site.app.sendTask(task, [side(site), ...args], { taskId: id })
const status = async (site: Site, id: string) => (await site.app.tasks.get(id))?.status
const becomes = (site: Site, id: string, wanted: string) =>
  until(async () => (await status(site, id)) === wanted, `${id} to become ${wanted}`)

describe('worker', () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    it(`on ${signal} finishes what runs, takes nothing new and exits 0`, async () => {
      await using site = await openSite()
      const door = join(site.folder, 'door')
      await call(site, 'wait', 'running', door)
      const worker = site.start('worker', ...APP, '-c', '1')
      await becomes(site, 'running', 'STARTED')
      await call(site, 'note_early', 'waiting')
      worker.signal(signal)
      await worker.said('Stopping')
      await writeFile(door, '')
      assert.deepEqual(await worker.end(), ended(0))
      assert.deepEqual([await status(site, 'running'), await status(site, 'waiting')], ['SUCCESS', 'PENDING'])
      assert.deepEqual(worker.stdout, [])
      assert.equal(worker.stderr.at(-1), 'Stopped.')
      assert.ok(worker.stderr.includes('Stopping: running tasks are being finished. Once more to end now.'))
    })
  }

  for (const [signal, code] of [
    ['SIGTERM', 143],
    ['SIGINT', 130],
  ] as const) {
    it(`on a second ${signal} gives late-ack tasks back and exits ${code}`, async () => {
      await using site = await openSite()
      await call(site, 'hold_late', 'late')
      await call(site, 'hold_early', 'early')
      const worker = site.start('worker', ...APP)
      await becomes(site, 'late', 'STARTED')
      await becomes(site, 'early', 'STARTED')
      worker.signal(signal)
      await worker.said('Stopping:')
      worker.signal(signal)
      assert.deepEqual(await worker.end(), ended(code))
      const deliveries = await site.broker.receive(['default'], 10, HOUR)
      assert.deepEqual(
        deliveries.map(({ message }) => message.id),
        ['late'],
      )
    })
  }

  it('sends what is due, and not with --no-sender', async () => {
    await using site = await openSite()
    const at = Date.now() - HOUR
    await site.put(at, { task_id: 'due', status: 'SCHEDULED', task: 'note_early', args: JSON.stringify([side(site)]), eta: at })
    const idle = site.start('worker', ...APP, '--no-sender')
    await (await call(site, 'note_early', 'other')).get({ timeout: 10 })
    assert.equal(await status(site, 'due'), 'SCHEDULED')
    await idle.kill()

    site.start('worker', ...APP)
    await site.app.result('due').get({ timeout: 10 })
    assert.equal(await status(site, 'due'), 'SCHEDULED_SENT')
  })

  it('takes messages of the queues of -Q alone', async () => {
    await using site = await openSite()
    const send = (queue: string) => site.app.sendTask('note_early', [side(site)], { taskId: queue, queue })
    for (const queue of ['a', 'b', 'default', 'c']) await send(queue)
    const worker = site.start('worker', ...APP, '-Q', 'a,b', '-Q', 'c')
    for (const queue of ['a', 'b', 'c']) await becomes(site, queue, 'SUCCESS')
    assert.equal(await status(site, 'default'), 'PENDING')
    await worker.kill()
  })

  it('logs at info each task’s start and end, at warning and error only what is graver', async () => {
    await using site = await openSite()
    const levels: Record<string, RegExp[]> = {
      info: [
        / info note_early\[.*\] started$/,
        / info note_early\[.*\] succeeded in \d+\.\d{3} s$/,
        / error nothing\[.*\] failed: NotRegistered: no task named/,
      ],
      warning: [/ error nothing\[.*\] failed: NotRegistered: no task named/],
      error: [/ error nothing\[.*\] failed: NotRegistered: no task named/],
    }
    for (const [level, expected] of Object.entries(levels)) {
      const worker = site.start('worker', ...APP, '-c', '1', '--log-level', level)
      await call(site, 'note_early', `good-${level}`)
      await call(site, 'nothing', `bad-${level}`)
      await becomes(site, `bad-${level}`, 'FAILURE')
      worker.signal('SIGTERM')
      await worker.end()
      const logged = worker.stderr.filter((line) => /^\d{4}-\d\d-\d\dT/.test(line))
      assert.equal(logged.length, expected.length, logged.join('\n'))
      expected.forEach((line, i) => {
        assert.match(logged[i] ?? '', line)
      })
    }
  })

  it('says nothing but errors with --quiet, and who it was with --json', async () => {
    await using site = await openSite()
    const quiet = site.start('worker', ...APP, '-q')
    const telling = site.start('worker', ...APP, '--json')
    await (await call(site, 'note_early', 'one')).get({ timeout: 10 })
    const workers = () => site.database.all<{ worker_id: string }>('SELECT worker_id FROM task_worker', [])
    await until(async () => (await workers()).length === 2, 'both workers to be at work')
    const known = (await workers()).map((row) => row.worker_id)
    for (const worker of [quiet, telling]) worker.signal('SIGTERM')
    assert.deepEqual([await quiet.end(), await telling.end()], [ended(0), ended(0)])
    assert.deepEqual([quiet.stdout, quiet.stderr], [[], []])
    const { workerId, ...rest } = JSON.parse(telling.stdout.join('\n'))
    assert.deepEqual(rest, { version: 1, kind: 'worker' })
    assert.ok(known.includes(workerId))
  })

  it('finds its app, and its app the database, in the configuration file', async () => {
    await using site = await openSite({ TASKLEDGER_DATABASE: '' })
    const library = JSON.stringify(new URL('dist/index.js', `file://${ROOT}`).href)
    await writeFile(
      join(site.folder, 'tasks.mjs'),
      `import { createApp } from ${library}\nconst app = createApp()\napp.task('add', (x, y) => x + y)\nexport default app\n`,
    )
    const database = inWordsOf({ sqlite: 'sqlite:ledger.db', postgres: site.url, mysql: site.url })
    const config = join(site.folder, 'taskledger.config.json')
    await writeFile(config, JSON.stringify({ app: './tasks.mjs', database, defaultQueue: 'sums' }))
    const worker = site.start('worker', '--config', config)
    const result = await site.app.sendTask('add', [2, 3], { queue: 'sums' })
    assert.equal(await result.get({ timeout: 10 }), 5)
    worker.signal('SIGTERM')
    assert.deepEqual(await worker.end(), ended(0))
  })

  it('logs with --log-format json one object a line, with the keys of pino, and the fields of the event', async () => {
    await using site = await openSite()
    const worker = site.start('worker', ...APP, '--log-format', 'json')
    await (await call(site, 'note_early', 'good')).get({ timeout: 10 })
    await (await call(site, 'nothing', 'bad')).get({ timeout: 10, propagate: false })
    worker.signal('SIGTERM')
    assert.deepEqual(await worker.end(), ended(0))
    const lines = worker.stderr.map((line) => JSON.parse(line))
    for (const { level, time, pid, hostname: host, msg } of lines) {
      assert.deepEqual([typeof level, typeof time, typeof pid, host, typeof msg], ['number', 'number', 'number', hostname(), 'string'])
      assert.ok(Math.abs(Date.now() - time) < HOUR)
    }
    const told = lines.map(({ level, event, taskId, task }) => [level, event, taskId, task])
    assert.deepEqual(told, [
      [30, 'started', 'good', 'note_early'],
      [30, 'succeeded', 'good', 'note_early'],
      [50, 'failed', 'bad', 'nothing'],
      [30, undefined, undefined, undefined],
      [30, undefined, undefined, undefined],
    ])
    assert.deepEqual([lines[2].error.type, lines[2].expected, lines[2].retries], ['NotRegistered', false, 0])
    assert.equal(lines.at(-1).msg, 'Stopped.')
  })
})
