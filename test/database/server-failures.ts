import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import { Database } from '../../src/lib/database/database.js'
import { CommitUnknownError } from '../../src/lib/database/failure.js'
import type { Sql } from '../../src/lib/database/sql.js'
import { ConfigurationError, UnavailableError } from '../../src/lib/task/errors.js'
import type { Databases } from '../helpers/databases.js'
import { openFolder } from '../helpers/folder.js'
import { overProxy } from '../helpers/over-proxy.js'
import { until } from '../helpers/until.js'
import { openWorld, type World } from '../helpers/world.js'

export const beat = (id: string) =>
  [
    `INSERT INTO task_worker (worker_id, host, pid, queues, started_at, beat_at, lease_until) VALUES (?, 'h', 1, '[]', 0, 0, 0)`,
    [id],
  ] as const

export const workers = async (w: World) =>
  (await w.database.all<{ worker_id: string }>('SELECT worker_id FROM task_worker ORDER BY worker_id', [])).map((row) => row.worker_id)

/** How one kind of server fails. */
interface Failing {
  readonly databases: Databases
  /** Its URL, with something else in it. */
  urlWith(change: (url: URL) => unknown): string
  /** A database that is not there, and what is said of it. */
  readonly missing: { readonly url: string; readonly message: RegExp }
  /** What is said of a user who is not let in. */
  readonly refused: RegExp
  readonly driver: { readonly name: string; readonly url: string; readonly ledger: string }
  /** The URL of a place with nothing in it. */
  newPlace(): Promise<string>
  /** A commit as it goes over the wire. */
  readonly commit: string
  /** Has the server end the connection of this transaction. */
  endOwn(sql: Sql): Promise<unknown>
}

const NOWHERE = { hostname: '127.0.0.1', port: '1' }

/** What becomes of what a program asks for when its server fails. Inside a suite that needs it. */
export function failuresOn(server: Failing): void {
  const { databases, driver, commit } = server
  const withSecret = (changes: Partial<URL>) => server.urlWith((url) => Object.assign(url, { password: 'secret-4711', ...changes }))

  describe('a database that cannot be opened', () => {
    for (const [what, url, kind, message] of [
      ['because nothing listens there', withSecret(NOWHERE), UnavailableError, /cannot be reached: connect ECONNREFUSED/],
      ['because it is not there', server.missing.url, ConfigurationError, server.missing.message],
      ['because the server refuses the user', withSecret({ username: 'nobody_of_this_name' }), ConfigurationError, server.refused],
    ] as const) {
      it(`${what} is told without the password`, async () => {
        await assert.rejects(Database.open(url, 'write'), (error: Error) => {
          assert.ok(error instanceof kind && message.test(error.message), String(error))
          return !inspect(error, { depth: 10 }).includes('secret-4711')
        })
      })
    }

    it(`for want of ${driver.name} is told in one sentence`, async () => {
      await using folder = await openFolder()
      const hook = `export const resolve = (name, context, next) => name === '${driver.name}' ? Promise.reject(Object.assign(new Error('none'), { code: 'ERR_MODULE_NOT_FOUND' })) : next(name, context)`
      const loader = `import { register } from 'node:module'; register('data:text/javascript,' + encodeURIComponent(${JSON.stringify(hook)}))`
      const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(loader)}` }
      const { stderr, code } = await folder.run(['list', '--database', driver.url], { env })
      const { name, ledger } = driver
      assert.equal(
        stderr,
        `taskledger: ${ledger} needs the package ${name}, which is not installed\n  install ${name}: npm install ${name}\n`,
      )
      assert.equal(code, 78)
    })

    it('is exit 69, or 78, of a command', async () => {
      await using folder = await openFolder()
      const run = (url: string) => folder.run(['list', '--database', url])
      const urls = [withSecret(NOWHERE), server.missing.url, withSecret({ username: 'nobody_of_this_name' })]
      const ran = await Promise.all(urls.map(run))
      assert.deepEqual(
        ran.map(({ code }) => code),
        [69, 78, 78],
      )
      assert.ok(
        !ran
          .map(({ stderr }) => stderr)
          .join('')
          .includes('secret-4711'),
      )
    })
  })

  describe('a place on a server', () => {
    it('without a ledger is refused with the command that makes one, and that command makes it', async () => {
      await using folder = await openFolder()
      const url = await server.newPlace()
      const refused = await folder.run(['list'], { env: { TASKLEDGER_DATABASE: url } })
      assert.equal(refused.code, 78)
      assert.equal(refused.stderr, `taskledger: there is no ledger in ${url}\n  make one with: taskledger migrate --database ${url}\n`)
      assert.equal((await folder.run(['migrate', '--database', url])).code, 0)
      assert.equal((await folder.run(['list'], { env: { TASKLEDGER_DATABASE: url } })).code, 0)
    })

    it('may be migrated by several programs at one time', async () => {
      await using folder = await openFolder()
      const env = { TASKLEDGER_DATABASE: await server.newPlace() }
      const ran = await Promise.all([1, 2, 3].map(() => folder.run(['migrate'], { env })))
      assert.deepEqual(
        ran.map(({ stderr, code }) => `${code} ${stderr}`),
        ['0 ', '0 ', '0 '],
      )
      const applied = ran.flatMap(({ stdout }) => stdout.split('\n')).filter((line) => line.startsWith('Applying '))
      assert.equal(applied.length, new Set(applied).size)
    })
  })

  describe('a commit whose connection is lost', () => {
    it('before it is written is done again', async () => {
      await using w = await openWorld({ databases })
      await using far = await overProxy(w)
      far.proxy.cutAt({ text: 'INSERT INTO task_worker', when: 'before' })
      assert.equal(await far.database.write((sql) => sql.run(...beat('a'))), 1)
      far.proxy.cutAt({ text: commit, when: 'before' })
      await assert.rejects(
        far.database.write((sql) => sql.run(...beat('b'))),
        CommitUnknownError,
      )
      assert.deepEqual(await workers(w), ['a'])
    })

    it('before its answer has come is not known to be written, and is not done again', async () => {
      await using w = await openWorld({ databases })
      await using far = await overProxy(w)
      far.proxy.cutAt({ text: commit, when: 'after' })
      await assert.rejects(
        Promise.all(['a', 'b'].map((id) => far.database.write((sql) => sql.run(...beat(id))))),
        (error: Error) => error instanceof CommitUnknownError && /was lost during a commit, which is written or not/.test(error.message),
      )
      await until(async () => (await workers(w)).length === 2, 'the commit to be written')
      assert.equal(await far.database.write((sql) => sql.run(...beat('c'))), 1)
    })

    it('to a server that is away is done once it is back; a read says at once that it is', async () => {
      await using w = await openWorld({ databases })
      await using far = await overProxy(w)
      far.proxy.close()
      const written = far.database.write((sql) => sql.run(...beat('a')))
      const unreachable = (error: Error) => error instanceof UnavailableError && /cannot be reached/.test(error.message)
      await assert.rejects(far.database.all('SELECT 1', []), unreachable)
      far.proxy.open()
      assert.equal(await written, 1)
    })

    it('because the server ended it is done again', async () => {
      await using w = await openWorld({ databases })
      let ended = false
      await w.database.write(async (sql) => {
        await sql.run(...beat('a'))
        if (!ended) await server.endOwn(sql)
        ended = true
        await sql.run(...beat('b'))
      })
      assert.deepEqual(await workers(w), ['a', 'b'])
    })
  })
}
