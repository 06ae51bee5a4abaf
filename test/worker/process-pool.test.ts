import assert from 'node:assert/strict'
import { rename, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { alive, childrenOf } from '../helpers/alive.js'
import { ROOT } from '../helpers/run.js'
import { runs, side } from '../helpers/side-effects.js'
import { ended, openSite } from '../helpers/site.js'
import { until } from '../helpers/until.js'
import { POOL_APP, pooled, working } from '../helpers/working.js'
import { openWorld, type World } from '../helpers/world.js'

const SOON = { timeout: 15 } as const
const UNTHROWN = { timeout: 15, propagate: false } as const

const open = (settings = {}) => openWorld({ now: Date.now, settings })
const rowOf = async (w: World, id: string) => (await w.app.tasks.get(id)) ?? assert.fail(`no row for ${id}`)
const kinds = async (w: World, id: string) => ((await w.app.tasks.history(id))?.attempts ?? []).map(({ kind }) => kind)

describe('a pool of processes', () => {
  it('runs bodies in child processes, as many at one time as its concurrency, and leaves none behind', async () => {
    await using w = await open()
    await using here = await pooled(w.app, { concurrency: 2 })
    for (let n = 0; n < 3; n++) await w.app.sendTask('hold', [side(w)])
    const started = await until(() => runs(w).length === 2 && runs(w), 'two bodies to run')
    const pids = started.map(({ number: pid }) => pid)
    assert.equal(new Set([process.pid, ...pids]).size, 3)
    assert.deepEqual(childrenOf(process.pid).sort(), [...pids].sort())
    assert.equal(await w.app.tasks.count({ statuses: ['PENDING'] }), 1)

    here.worker.stop({ now: true })
    await here.ended
    assert.deepEqual(pids.filter(alive), [])
    assert.deepEqual(childrenOf(process.pid), [])
  })

  it('tells a body what it may know of itself, as the other pool does', async () => {
    await using w = await open()
    await using _ = await pooled(w.app)
    const expires = new Date(Date.now() + 60_000)
    const result = await w.app.sendTask('request', [1], { kwargs: { k: 2 }, headers: { h: 3 }, expires })
    assert.deepEqual(await result.get(SOON), {
      id: result.id,
      task: 'request',
      args: [1],
      kwargs: { k: 2 },
      retries: 0,
      deliveries: 1,
      queue: 'default',
      headers: { h: 3 },
      eta: null,
      expires: expires.toISOString(),
      parentId: null,
      rootId: result.id,
      retryOf: null,
      hostname: hostname(),
      aborted: false,
    })
  })

  it('writes what a body says of itself, several updates at once in their order', async () => {
    await using w = await open()
    await using _ = await pooled(w.app)
    const { id } = await w.app.sendTask('progress')
    const row = await until(async () => {
      const found = await rowOf(w, id)
      return (found.meta as { done?: number } | null)?.done === 2 && found
    }, 'the last update')
    assert.deepEqual([row.status, row.finishedAt], ['HALFWAY', null])
  })

  it('refuses the same updates as the other pool, with the same words', async () => {
    await using w = await open()
    await using _ = await pooled(w.app)
    assert.deepEqual(await (await w.app.sendTask('refused')).get(SOON), [
      "UsageError: state: expected a word of the task's own of 1 to 50 characters, got: SUCCESS",
      'NotJsonError: meta is a Date, which JSON cannot carry',
      'NotJsonError: meta is a bigint, which JSON cannot carry',
    ])
  })

  it('has a task that asks for it run again, with what the retry changes', async () => {
    await using w = await open()
    await using _ = await pooled(w.app)
    const result = await w.app.sendTask('again', ['0'])
    assert.deepEqual(await result.get(SOON), [2, ['2']])
    assert.deepEqual(await kinds(w, result.id), ['retry', 'retry'])
  })

  it('gives what a body publishes its parent and its root', async () => {
    await using w = await open()
    await using _ = await pooled(w.app)
    const parent = await w.app.sendTask('parent')
    const child = await w.app.result<string>(String(await parent.get(SOON))).get(SOON)
    assert.equal(typeof child, 'number')
    const { parentId, rootId } = await rowOf(w, String(await parent.get(SOON)))
    assert.deepEqual([parentId, rootId], [parent.id, parent.id])
  })

  it('brings the error of a body with its stack and causes', async () => {
    await using w = await open()
    await using _ = await pooled(w.app)
    const result = await w.app.sendTask('fail')
    assert.equal(String(await result.get(UNTHROWN)), 'RangeError: too far')
    const traceback = (await rowOf(w, result.id)).traceback ?? ''
    assert.match(traceback, /^RangeError: too far\n\s+at .*failing.*pool-app\.mjs/)
    assert.match(traceback, /\nCaused by: TypeError: the root of it\n\s+at /)
  })

  it('fails a task whose result is not JSON, and with forceJson keeps it as text', async () => {
    for (const forceJson of [false, true]) {
      await using w = await open({ forceJson })
      await using _ = await pooled(w.app)
      const result = await w.app.sendTask('date')
      const expected = forceJson
        ? { value: '[object Object]', forced_json: true }
        : 'NotJsonError: result.at[0] is a Date, which JSON cannot carry'
      const got = await result.get(UNTHROWN)
      assert.deepEqual(got instanceof Error ? String(got) : got, expected)
    }
  })

  it('fails a task that its module does not know', async () => {
    await using w = await open()
    w.app.task('here_only', () => 1)
    await using _ = await pooled(w.app)
    assert.equal(
      String(await (await w.app.sendTask('here_only')).get(UNTHROWN)),
      'PlainError: a process of the pool does not know the task here_only',
    )
    assert.equal(typeof (await (await w.app.sendTask('pid')).get(SOON)), 'number')
  })
})
describe('an app that the children cannot import', () => {
  for (const [what, source, why] of [
    ['throws', "throw new Error('not today')", 'Error: not today'],
    ['exports no app', 'export const x = 1', 'Error: it exports no app'],
    ['ends the process', 'process.exit(3)', 'it ended with exit code 3'],
  ] as const) {
    it(`ends the worker's run with one sentence, and leaves no process: a module that ${what}`, async () => {
      await using w = await open()
      const module = join(w.folder, 'app.mjs')
      await writeFile(module, source)
      const run = w.app.worker({ pool: 'processes', module, concurrency: 2 }).run()
      await assert.rejects(run, (error: Error) => {
        assert.equal(String(error), `ConfigurationError: a process of the pool cannot import the app module file://${module}: ${why}`)
        return true
      })
      assert.deepEqual(childrenOf(process.pid), [])
    })
  }

  it('is exit 78 of the command', async () => {
    await using site = await openSite()
    const library = JSON.stringify(new URL('dist/index.js', `file://${ROOT}`).href)
    const source = `import { createApp } from ${library}\nif (process.send) throw new Error('not in a child')\nexport const app = createApp()\n`
    await writeFile(join(site.folder, 'app.mjs'), source)
    const { stdout, stderr, code } = await site.run(['worker', '--app', './app.mjs', '--pool', 'processes', '-c', '1'])
    assert.deepEqual([stdout, code], ['', 78])
    assert.match(stderr, /^taskledger: a process of the pool cannot import the app module .*app\.mjs: Error: not in a child\n$/)
  })

  it('when a child is to be replaced is tried again until it can be', async () => {
    await using w = await open()
    const module = join(w.folder, 'app.mjs')
    const source = `export { app } from ${JSON.stringify(POOL_APP)}\n`
    await writeFile(module, source)
    await using _ = await pooled(w.app, { module })
    await (await w.app.sendTask('pid')).get(SOON)
    await writeFile(`${module}.bad`, "throw new Error('half deployed')")
    await rename(`${module}.bad`, module)
    await (await w.app.sendTask('die', [side(w)])).get(UNTHROWN)
    const waiting = await w.app.sendTask('pid')
    await until(() => w.errors.length > 0, 'the failure to be reported')
    assert.match(String(w.errors[0]), /cannot import the app module .*: Error: half deployed$/)
    await writeFile(module, source)
    assert.equal(typeof (await waiting.get(SOON)), 'number')
  })

  it('when a child is to be replaced does not keep a worker from ending', async () => {
    await using w = await open()
    const module = join(w.folder, 'app.mjs')
    await writeFile(module, `export { app } from ${JSON.stringify(POOL_APP)}\n`)
    await using here = await pooled(w.app, { module })
    await (await w.app.sendTask('pid')).get(SOON)
    await writeFile(module, "throw new Error('gone')")
    await (await w.app.sendTask('die', [side(w)])).get(UNTHROWN)
    await until(() => w.errors.length > 0, 'the failure to be reported')
    here.worker.stop()
    await here.ended
    assert.deepEqual(childrenOf(process.pid), [])
  })

  it('must be named', async () => {
    await using w = await open()
    const here = working(w.app, { pool: 'processes' })
    await assert.rejects(here.ended, /^ConfigurationError: a pool of processes needs the module that exports the app$/)
  })
})

describe('a worker command with a pool of processes', () => {
  const APP = ['--app', 'test/fixtures/pool-app.mjs', '--pool', 'processes']
  const pidOf = async (site: World) =>
    (await until(async () => (await site.database.all<{ pid: number }>('SELECT pid FROM task_worker', []))[0], 'the worker to be at work'))
      .pid

  it('takes its children with it when it is killed', async () => {
    await using site = await openSite()
    const worker = site.start('worker', ...APP, '-c', '2')
    await site.app.sendTask('hold', [side(site)])
    await until(() => runs(site).length === 1, 'the body to run')
    const children = childrenOf(await pidOf(site))
    assert.equal(children.length, 2)
    await worker.kill()
    await until(() => children.every((pid) => !alive(pid)), 'the children to end')
  })

  it('ends what runs when Ctrl-C reaches every process of its terminal', async () => {
    await using site = await openSite()
    const worker = site.start('worker', ...APP, '-c', '1')
    const result = await site.app.sendTask('tidy', [side(site)], { softTimeLimit: 1 })
    await until(async () => (await result.state()) === 'STARTED', 'the task to start')
    const children = childrenOf(await pidOf(site))
    assert.equal(children.length, 1)
    for (const pid of children) process.kill(pid, 'SIGINT')
    worker.signal('SIGINT')
    assert.deepEqual(await worker.end(), ended(0))
    assert.equal(await result.get(SOON), 'tidied')
    assert.deepEqual(children.filter(alive), [])
  })

  it('replaces children by --max-tasks-per-child', async () => {
    await using site = await openSite()
    site.start('worker', ...APP, '-c', '1', '--max-tasks-per-child', '1')
    const pids = [await (await site.app.sendTask('pid')).get(SOON), await (await site.app.sendTask('pid')).get(SOON)]
    assert.notEqual(pids[0], pids[1])
  })
})
