import assert from 'node:assert/strict'
import { chmod, writeFile } from 'node:fs/promises'
import SqliteDatabase from 'better-sqlite3'
import { HAS_MODES, openFolder, STRANGER } from '../helpers/folder.js'
import { openSite, withoutTerminal } from '../helpers/site.js'

const NAMES = ['0001_ledger', '0002_workflows', '0003_celery_results']
const BACK = [...NAMES].reverse()
const ALL_APPLIED = NAMES.map((name) => ` [X] ${name}\n`).join('')
const NONE_APPLIED = NAMES.map((name) => ` [ ] ${name}\n`).join('')

const applying = NAMES.map((name) => `Applying ${name}... OK\n`).join('')
const takingBack = BACK.map((name) => `Taking back ${name}... OK\n`).join('')

const tables = (file: string): string[] => {
  const database = new SqliteDatabase(file, { readonly: true })
  try {
    const names = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'task\\_%' ESCAPE '\\' ORDER BY name")
    return names.pluck().all() as string[]
  } finally {
    database.close()
  }
}

const ALL_TABLES = ['task_attempt', 'task_group', 'task_group_member', 'task_message', 'task_rate', 'task_result', 'task_worker']

describe('migrate', () => {
  it('makes the database with its tables, and then has nothing to do', async () => {
    await using folder = await openFolder()
    assert.deepEqual(await folder.run(['migrate']), { stdout: applying, stderr: '', code: 0 })
    assert.deepEqual(tables(folder.file('taskledger.db')), ALL_TABLES)
    assert.deepEqual(await folder.run(['migrate']), { stdout: 'No migrations to apply.\n', stderr: '', code: 0 })
    assert.deepEqual(await folder.run(['migrate', NAMES.at(-1) ?? '']), { stdout: 'No migrations to apply.\n', stderr: '', code: 0 })
  })

  it('makes an empty file a ledger', async () => {
    await using folder = await openFolder()
    await writeFile(folder.file('empty.db'), '')
    assert.equal((await folder.run(['migrate', '--database', 'sqlite:empty.db'])).code, 0)
    assert.deepEqual(tables(folder.file('empty.db')), ALL_TABLES)
  })

  it('prints one whole document with --json', async () => {
    await using folder = await openFolder()
    const { stdout } = await folder.run(['migrate', '--json'])
    const steps = NAMES.map((name) => ({ name, direction: 'up' }))
    assert.deepEqual(JSON.parse(stdout), { version: 1, kind: 'migrate', changed: true, steps })
  })

  it('may be run by several programs at one time: one makes the tables, the others find them', async () => {
    await using folder = await openFolder()
    const ran = await Promise.all([1, 2, 3].map(() => folder.run(['migrate'])))
    assert.deepEqual(
      ran.map(({ stderr, code }) => `${code} ${stderr}`),
      ['0 ', '0 ', '0 '],
    )
    const applied = ran.flatMap(({ stdout }) => stdout.split('\n')).filter((line) => line.startsWith('Applying '))
    assert.deepEqual(applied.sort(), applying.trim().split('\n'))
    assert.deepEqual(tables(folder.file('taskledger.db')), ALL_TABLES)
  })

  it('goes back to zero with --yes, and forward again', async () => {
    await using folder = await openFolder()
    await folder.run(['migrate'])
    assert.deepEqual(await folder.run(['migrate', 'zero', '--yes']), { stdout: takingBack, stderr: '', code: 0 })
    assert.deepEqual(tables(folder.file('taskledger.db')), [])
    assert.equal((await folder.run(['migrate'])).stdout, applying)
  })

  it('without a terminal needs --yes to go back: exit 2, and nothing is dropped', async () => {
    await using site = await openSite()
    await site.put(Date.now(), { task_id: 'one' })
    const { stdout, stderr, code } = await site.run(['migrate', 'zero'], { input: 'y\n' })
    assert.match(stderr, /^taskledger: this needs a yes, and there is no terminal to ask on\n/)
    assert.deepEqual([stdout, code], ['', 2])
    assert.ok(await site.app.tasks.get('one'))
  })

  it('asks on a terminal before it goes back, and takes anything but yes for a no', async function () {
    if (withoutTerminal() !== null) this.skip()
    await using site = await openSite()
    const no = await site.terminal(['migrate', 'zero'], { input: 'n\n' })
    assert.match(no.stdout, new RegExp(`Take back ${BACK.join(', ')}, and drop what is in their tables\\? \\[y/N\\]`))
    assert.equal(no.code, 1)
    assert.equal((await site.run(['migrate:status'])).stdout, ALL_APPLIED)
    const yes = await site.terminal(['migrate', 'zero'], { input: 'y\n' })
    assert.match(yes.stdout, /Taking back .*\.\.\. OK/)
    assert.equal(yes.code, 0)
  })

  for (const [flag, code] of [
    ['--check', 1],
    ['--dry-run', 0],
  ] as const) {
    it(`${flag} says what there is to do, changes nothing and exits ${code}`, async () => {
      await using folder = await openFolder()
      await writeFile(folder.file('taskledger.db'), '')
      const before = await folder.contents()
      assert.deepEqual(await folder.run(['migrate', flag]), {
        stdout: NAMES.map((name) => `Applying ${name}\n`).join(''),
        stderr: '',
        code,
      })
      assert.deepEqual(await folder.contents(), before)

      await folder.run(['migrate'])
      const migrated = await folder.contents()
      assert.deepEqual(await folder.run(['migrate', flag]), { stdout: 'No migrations to apply.\n', stderr: '', code: 0 })
      assert.deepEqual(await folder.run(['migrate', 'zero', flag]), {
        stdout: BACK.map((name) => `Taking back ${name}\n`).join(''),
        stderr: '',
        code,
      })
      assert.deepEqual(await folder.contents(), migrated)
    })
  }

  it('to a migration that does not exist is exit 2 and names those that do', async () => {
    await using folder = await openFolder()
    await folder.run(['migrate'])
    const { stderr, code } = await folder.run(['migrate', '0099_dreams'])
    assert.equal(stderr, `taskledger: there is no migration named 0099_dreams; expected zero or one of ${NAMES.join(', ')}\n`)
    assert.equal(code, 2)
  })
})

describe('migrate:status', () => {
  it('lists what is applied, what is pending and what a newer program applied', async () => {
    await using folder = await openFolder()
    await writeFile(folder.file('taskledger.db'), '')
    assert.deepEqual(await folder.run(['migrate:status']), { stdout: NONE_APPLIED, stderr: '', code: 0 })
    await folder.run(['migrate'])
    assert.deepEqual(await folder.run(['migrate', 'status']), { stdout: ALL_APPLIED, stderr: '', code: 0 })
    assert.deepEqual(await folder.run(['showmigrations']), { stdout: ALL_APPLIED, stderr: '', code: 0 })

    const database = new SqliteDatabase(folder.file('taskledger.db'))
    database.exec("INSERT INTO taskledger_migrations (name, batch) VALUES ('9999_future', 2)")
    database.close()
    assert.equal((await folder.run(['migrate:status'])).stdout, `${ALL_APPLIED} [?] 9999_future, of a newer program\n`)
    const { stdout } = await folder.run(['migrate:status', '--json'])
    const document = { version: 1, kind: 'migration-status', applied: NAMES, pending: [], unknown: ['9999_future'] }
    assert.deepEqual(JSON.parse(stdout), document)
  })

  it('writes nothing, and so works where nothing may be written', async function () {
    if (!HAS_MODES) this.skip()
    await using folder = await openFolder()
    await writeFile(folder.file('empty.db'), '')
    await folder.run(['migrate'])
    await chmod(folder.path, 0o555)
    const before = await folder.contents()
    assert.deepEqual(await folder.run(['migrate:status'], { user: STRANGER }), { stdout: ALL_APPLIED, stderr: '', code: 0 })
    assert.deepEqual(await folder.run(['migrate:status', '--database', 'sqlite:empty.db'], { user: STRANGER }), {
      stdout: NONE_APPLIED,
      stderr: '',
      code: 0,
    })
    assert.deepEqual(await folder.contents(), before)
  })
})
