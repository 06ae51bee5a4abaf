import assert from 'node:assert/strict'
import { chmod, copyFile, mkdir, truncate, writeFile } from 'node:fs/promises'
import SqliteDatabase from 'better-sqlite3'
import { Database } from '../../src/lib/database/database.js'
import { type Folder, HAS_MODES, openFolder, STRANGER } from '../helpers/folder.js'
import { type Columns, putRow } from '../helpers/rows.js'
import { ROOT, type RunOptions, runFile } from '../helpers/run.js'

/** How a command is refused: its exit code, its sentence, and at most one line on what to do. */
interface Refusal {
  readonly code: number
  readonly message: string
  readonly hint?: string
}

const HELP = 'See more help with --help'

const sentence = ({ message, hint }: Refusal) => `taskledger: ${message}\n${hint === undefined ? '' : `  ${hint}\n`}`

/** Each of the command lines says nothing on stdout, and one sentence with its hint on stderr. */
async function assertAllRefused(folder: Folder, lines: readonly string[], refusal: Refusal, options: RunOptions = {}) {
  const told = await Promise.all(lines.map(async (line) => ({ line, ...(await folder.run(line.split(' '), options)) })))
  assert.deepEqual(
    told,
    lines.map((line) => ({ line, stdout: '', stderr: sentence(refusal), code: refusal.code })),
  )
}

/** The same of one; with --json it prints one document instead, and a stack only with --traceback. */
async function assertRefused(folder: Folder, argv: readonly string[], refusal: Refusal, options: RunOptions = {}) {
  const { code, message, hint } = refusal
  const [plain, json, traced] = await Promise.all([
    folder.run(argv, options),
    folder.run([...argv, '--json'], options),
    folder.run([...argv, '--traceback'], options),
  ])
  const told = sentence(refusal)
  assert.deepEqual(plain, { stdout: '', stderr: told, code })

  const document = JSON.parse(json.stdout)
  assert.match(document.error.name, /Error$/)
  const error = { name: document.error.name, message, hint: hint ?? null, exitCode: code }
  assert.deepEqual([document, json.stderr, json.code], [{ version: 1, kind: 'error', error }, '', code])

  assert.match(traced.stderr, /^\w+Error: .*\n {4}at /s)
  assert.deepEqual([traced.stderr.endsWith(told), traced.stdout, traced.code], [true, '', code])
}

/** Every command that needs a ledger and leaves it as it is, and every other. */
const READING = [
  'find-stale-tasks',
  'find-stale-scheduled',
  'send-scheduled --dry-run',
  'retry x --dry-run',
  'purge --all --dry-run',
  'fix-json --dry-run',
  'list',
  'show x',
  'export',
  'export -o rows.csv',
]
const WRITING = [
  'find-stale-scheduled --release --yes',
  'send-scheduled',
  'retry x',
  'purge --all --yes',
  'fix-json',
  'call add',
  `worker --app ${ROOT}test/fixtures/app.mjs`,
]

const words = (line: string) => line.split(' ')

/** One task, and nothing else. */
async function putTask(file: string, columns: Columns): Promise<void> {
  const database = await Database.open(`sqlite:${file}`, 'write')
  await putRow(database, columns)
  await database.close()
}

async function migrated(): Promise<Folder> {
  const folder = await openFolder()
  assert.equal((await folder.run(['migrate'])).code, 0)
  return folder
}

describe('a command line', () => {
  const lines: readonly (readonly [what: string, line: string, message: string, hint?: string])[] = [
    ['an unknown flag', 'find-stale-tasks --bogus', 'Nonexistent flag: --bogus'],
    ['a flag that is nearly one', 'find-stale-tasks --hour 1', 'Nonexistent flag: --hour', `did you mean --hours? ${HELP}`],
    ['a flag of another command', 'list --dry-run', 'Nonexistent flag: --dry-run'],
    ['a flag without its value', 'find-stale-tasks --hours', 'Flag --hours expects a value'],
    ['a flag given twice', 'find-stale-tasks --hours 1 --hours 2', 'Flag --hours can only be specified once'],
    ['a negative duration', 'find-stale-tasks --hours -1', '--hours: Expected an integer greater than or equal to 0 but received: -1'],
    ['part of an hour', 'find-stale-tasks --hours 1.5', '--hours: Expected an integer but received: 1.5'],
    ['hours in words', 'find-stale-tasks --hours two', '--hours: Expected an integer but received: two'],
    [
      'a duration without a unit',
      'find-stale-tasks --older-than 90',
      '--older-than: expected a duration like 90s, 15m, 1h30m or 7d, got: 90',
    ],
    [
      'a duration that is negative',
      'find-stale-tasks --older-than -1h',
      '--older-than: expected a duration like 90s, 15m, 1h30m or 7d, got: -1h',
    ],
    [
      'a duration that is longer than a timer waits',
      'worker --shutdown-timeout 25d',
      '--shutdown-timeout: expected a duration of at most 2147483s, not quite 25 days, got: 25d',
    ],
    [
      'a time in words',
      'list --since yesterday',
      '--since: expected a date like 2026-11-20, a time like 2026-11-20T14:17Z or an age like 2h, got: yesterday',
    ],
    ['a date that does not exist', 'list --until 2026-13-01', '--until: expected a date that exists, got: 2026-13-01'],
    ['a choice that is none', 'list --format yaml', 'Expected --format=yaml to be one of: table, plain, ids'],
    ['a page of nothing', 'list --limit 0', '--limit: Expected an integer greater than or equal to 1 but received: 0'],
    ['a word too many', 'find-stale-tasks now', 'Unexpected argument: now'],
    ['a word too few', 'call', 'expected an argument, task, got none'],
  ]
  for (const [what, line, message, hint = HELP] of lines) {
    it(`with ${what} is exit 2`, async () => {
      await using folder = await openFolder()
      await assertRefused(folder, words(line), { code: 2, message, hint })
      assert.deepEqual(await folder.contents(), {})
    })
  }

  it('with an age beyond a thousand years is exit 2', async () => {
    await using folder = await migrated()
    const message = 'expected a duration of at most 1000 years, got: 19178 years'
    await assertRefused(folder, words('find-stale-tasks --weeks 999999'), { code: 2, message })
  })

  it('with an unknown command is exit 127', async () => {
    await using folder = await openFolder()
    const hint = 'did you mean find-stale-tasks? See taskledger --help'
    await assertRefused(folder, ['find-stale-taks'], { code: 127, message: 'there is no command named find-stale-taks', hint })
  })

  it('with a flag before the command is exit 2', async () => {
    await using folder = await openFolder()
    const hint = 'flags come after it: taskledger COMMAND --flag; see taskledger --help'
    await assertRefused(folder, ['--hours', '1', 'find-stale-tasks'], { code: 2, message: 'expected a command first, got: --hours', hint })
  })
})

describe('a database', () => {
  it('that is not there is exit 78 for every command, and none makes it', async () => {
    await using folder = await openFolder()
    const file = folder.file('taskledger.db')
    const hint = `make one with: taskledger migrate --database sqlite:${file}`
    const refusal = { code: 78, message: `there is no ledger at ${file}`, hint }
    await assertAllRefused(folder, [...READING, ...WRITING, 'migrate:status', 'migrate --check'], refusal)
    await assertRefused(folder, ['find-stale-tasks'], refusal)
    assert.deepEqual(await folder.contents(), {})
  })

  it('that is a zero-byte file is exit 78, and stays one', async () => {
    await using folder = await openFolder()
    const file = folder.file('taskledger.db')
    await writeFile(file, '')
    const before = await folder.contents()
    const hint = `make one with: taskledger migrate --database sqlite:${file}`
    const refusal = { code: 78, message: `there is no ledger in ${file}`, hint }
    await assertAllRefused(folder, READING, refusal)
    assert.deepEqual(await folder.contents(), before)
    await assertRefused(folder, ['call', 'add'], refusal)
  })

  const wrong: readonly (readonly [what: string, make: (folder: Folder) => Promise<unknown>, refusal: (file: string) => Refusal])[] = [
    [
      'that is a folder',
      (folder) => mkdir(folder.file('taskledger.db')),
      (file) => ({ code: 78, message: `the database ${file} is a folder`, hint: 'name a file, for example sqlite:taskledger.db' }),
    ],
    [
      'that is a text file',
      (folder) => writeFile(folder.file('taskledger.db'), 'name,licence\n'.repeat(100)),
      (file) => ({ code: 78, message: `${file} is not a SQLite database`, hint: 'check the database setting: it names another file' }),
    ],
    [
      'that was cut short',
      async (folder) => {
        await folder.run(['migrate', '--database', 'sqlite:whole.db'])
        await copyFile(folder.file('whole.db'), folder.file('taskledger.db'))
        await truncate(folder.file('taskledger.db'), 5000)
      },
      (file) => ({
        code: 69,
        message: `the database ${file} failed: database disk image is malformed`,
        hint: 'restore it from a backup, or save what can be read with: sqlite3 FILE .recover',
      }),
    ],
  ]
  for (const [what, make, refusal] of wrong) {
    it(`${what} is told in a sentence, and left as it is`, async () => {
      await using folder = await openFolder()
      await make(folder)
      const before = await folder.contents()
      const told = refusal(folder.file('taskledger.db'))
      await assertAllRefused(folder, ['call add', 'send-scheduled', 'migrate', 'migrate:status', 'export -o rows.csv'], told)
      await assertRefused(folder, ['find-stale-tasks'], told)
      assert.deepEqual(await folder.contents(), before)
    })
  }

  it('in a folder that is not there is exit 78, also for migrate', async () => {
    await using folder = await openFolder()
    const database = ['--database', 'sqlite:no/ledger.db']
    const file = folder.file('no/ledger.db')
    const hint = `make one with: taskledger migrate --database sqlite:${file}`
    await assertRefused(folder, ['list', ...database], { code: 78, message: `there is no ledger at ${file}`, hint })
    await assertRefused(folder, ['migrate', ...database], {
      code: 78,
      message: `the database ${file} cannot be made: there is no folder ${folder.file('no')}`,
      hint: 'make the folder first',
    })
  })

  it('of a URL that means nothing to this version is exit 78, and no password is repeated', async () => {
    await using folder = await openFolder()
    const expected = 'expected sqlite:FILE, for example sqlite:taskledger.db'
    const either = `${expected}, postgres://USER@HOST/DATABASE or mysql://USER@HOST/DATABASE`
    const unknown = 'the database URL is not one this version knows'
    await assertRefused(folder, ['list', '--database', 'ledger.db'], { code: 78, message: `${unknown}: ${either}, got: ledger.db` })
    await assertRefused(folder, ['list', '--database', 'oracle://me:secret@host/db'], {
      code: 78,
      message: `${unknown}: ${either}, got a URL that begins with oracle:`,
    })
    await assertRefused(folder, ['list', '--database', 'postgres://me:secret@host'], {
      code: 78,
      message:
        'the database URL names no database: expected postgres://USER:PASSWORD@HOST:PORT/DATABASE, with %-escapes for what is special in a URL',
    })
    await assertRefused(folder, ['list', '--database', 'sqlite:'], {
      code: 78,
      message: `the database URL names no file: ${expected}, got: sqlite:`,
    })
    await assertRefused(folder, ['list', '--broker', 'redis://me:secret@host'], {
      code: 78,
      message: 'the command line: broker: expected sql:, or a URL such as amqp://localhost, got: "redis://…@host"',
    })
  })

  it('of a newer program is exit 78 for every command but migrate:status', async () => {
    await using folder = await migrated()
    const file = folder.file('taskledger.db')
    const database = new SqliteDatabase(file)
    database.exec("INSERT INTO taskledger_migrations (name, batch) VALUES ('9999_future', 2)")
    database.close()
    const before = await folder.contents()
    const message = `the schema of ${file} is newer than this program: it has 9999_future`
    const refusal = { code: 78, message, hint: 'install the taskledger version that made it, or a later one' }
    await assertAllRefused(folder, [...READING, ...WRITING, 'migrate', 'migrate zero --yes', 'migrate --check'], refusal)
    await assertRefused(folder, ['find-stale-tasks'], refusal)
    assert.deepEqual(await folder.contents(), before)
    assert.equal((await folder.run(['migrate:status'])).code, 0)
  })

  it('that no migration was applied to is exit 78 for every command', async () => {
    await using folder = await migrated()
    const file = folder.file('taskledger.db')
    const database = new SqliteDatabase(file)
    database.exec('DELETE FROM taskledger_migrations')
    database.close()
    const hint = `make one with: taskledger migrate --database sqlite:${file}`
    await assertAllRefused(folder, [...READING, ...WRITING], { code: 78, message: `there is no ledger in ${file}`, hint })
  })

  it('that another program has locked is exit 75 for a command that writes, after a wait; reading goes on', async () => {
    await using folder = await migrated()
    const file = folder.file('taskledger.db')
    await putTask(file, { task_id: 'due', status: 'SCHEDULED', published_at: null, eta: 1 })
    const holder = new SqliteDatabase(file)
    holder.exec('BEGIN EXCLUSIVE')
    try {
      const locked = { code: 75, message: `the database ${file} is locked by another process`, hint: 'run it again in a moment' }
      const [reading] = await Promise.all([
        folder.run(['find-stale-tasks']),
        assertRefused(folder, ['call', 'add'], locked),
        assertAllRefused(folder, ['migrate zero --yes', 'send-scheduled'], locked),
      ])
      assert.deepEqual(reading, { stdout: 'Stale tasks:\n', stderr: '', code: 0 })
    } finally {
      holder.close()
    }
    assert.equal((await folder.run(['call', 'add', '-q'])).code, 0)
  })
})

describe('a database that may not be written to', () => {
  before(function () {
    if (!HAS_MODES) this.skip()
  })

  const stranger = { user: STRANGER }

  for (const [what, fileMode, folderMode] of [
    ['because the file is read-only', 0o444, 0o777],
    ['because its folder is', 0o444, 0o555],
  ] as const) {
    it(`${what} is exit 78 for every command that writes; what only looks works, and changes nothing`, async () => {
      await using folder = await migrated()
      const file = folder.file('taskledger.db')
      await putTask(file, { task_id: 'old', status: 'SUCCESS' })
      await chmod(file, fileMode)
      await chmod(folder.path, folderMode)
      const before = await folder.contents()
      const refusal = {
        code: 78,
        message: `the database ${file} cannot be written: the file or its folder is read-only`,
        hint: 'give this user write access to the file and its folder',
      }
      await assertAllRefused(folder, ['call add', 'purge --all --yes', 'migrate zero --yes', 'retry old --force'], refusal, stranger)
      await assertRefused(folder, ['send-scheduled'], refusal, stranger)
      for (const line of ['find-stale-tasks', 'list', 'export', 'show old', 'purge --all --dry-run', 'migrate:status', 'migrate --check']) {
        const { stderr, code } = await folder.run(words(line), stranger)
        assert.deepEqual([stderr, code], ['', 0], line)
      }
      assert.deepEqual(await folder.contents(), before)
    })
  }

  it('or read is exit 78 for every command', async () => {
    await using folder = await migrated()
    const file = folder.file('taskledger.db')
    await chmod(file, 0o000)
    const hint = 'check that the folder exists and that this user may read and write it'
    const refusal = { code: 78, message: `the database ${file} cannot be opened`, hint }
    await assertAllRefused(folder, ['list', 'migrate:status', 'purge --all --dry-run'], refusal, stranger)
    await chmod(file, 0o644)
    await chmod(folder.path, 0o644)
    const elsewhere = { ...stranger, cwd: ROOT, env: { TASKLEDGER_DATABASE: `sqlite:${file}` } }
    await assertRefused(
      folder,
      ['list'],
      {
        code: 78,
        message: `the database ${file} cannot be read: EACCES`,
        hint: 'check that this user may open the folders on the way to it',
      },
      elsewhere,
    )
  })
})

describe('a configuration file', () => {
  const correct = 'correct the file, or name another with --config'
  const files: readonly (readonly [what: string, name: string, text: string, message: (file: string) => string, hint?: string])[] = [
    [
      'that is no JSON',
      'x.json',
      '{"lease": }',
      (file) => `the configuration file ${file} cannot be read: Unexpected token '}', "{"lease": }" is not valid JSON`,
      correct,
    ],
    [
      'with a syntax error',
      'x.mjs',
      'export default {',
      (file) => `the configuration file ${file} cannot be read: Unexpected end of input`,
      correct,
    ],
    ['that throws', 'x.mjs', 'throw new Error("boom")', (file) => `the configuration file ${file} cannot be read: boom`, correct],
    ['with an unknown setting', 'x.json', '{"leese": 30}', (file) => `${file}: there is no setting named leese`, 'did you mean lease?'],
    [
      'with a number in quotes',
      'x.json',
      '{"lease": "30"}',
      (file) => `${file}: lease: expected a number of seconds, at least 0.1, at most 2147483, got: "30"`,
    ],
    [
      'with a number too small',
      'x.mjs',
      'export default { concurrency: 0 }',
      (file) => `${file}: concurrency: expected a whole number, at least 1, got: 0`,
    ],
    [
      'with part of a number',
      'x.json',
      '{"maxDeliveries": 1.5}',
      (file) => `${file}: maxDeliveries: expected a whole number, at least 1, got: 1.5`,
    ],
    ['with a text for a switch', 'x.json', '{"trackPublish": "no"}', (file) => `${file}: trackPublish: expected true or false, got: "no"`],
    ['that is a list', 'x.json', '[]', (file) => `${file}: expected an object of settings, got: []`],
    ['that exports a number', 'x.mjs', 'export default 3', (file) => `${file}: expected an object of settings, got: 3`],
  ]
  for (const [what, name, text, message, hint] of files) {
    it(`${what} (${name}) is exit 78, and names the file`, async () => {
      await using folder = await openFolder()
      await writeFile(folder.file(name), text)
      const before = await folder.contents()
      const refusal = { code: 78, message: message(folder.file(name)), ...(hint !== undefined && { hint }) }
      await assertRefused(folder, ['list', '--config', name], refusal)
      assert.deepEqual(await folder.contents(), before)
    })
  }

  it('that is found by itself is refused as one that is named', async () => {
    await using folder = await openFolder()
    const file = folder.file('taskledger.config.json')
    await writeFile(file, '{"lease": "30"}')
    const message = `${file}: lease: expected a number of seconds, at least 0.1, at most 2147483, got: "30"`
    await assertRefused(folder, ['list'], { code: 78, message })
    await assertRefused(folder, ['migrate'], { code: 78, message })
  })

  it('that is named and not there is exit 78', async () => {
    await using folder = await openFolder()
    const file = folder.file('no.json')
    await assertRefused(folder, ['list', '--config', 'no.json'], {
      code: 78,
      message: `the configuration file ${file} cannot be read: ENOENT: no such file or directory, open '${file}'`,
      hint: correct,
    })
  })
})

describe('a variable of the environment', () => {
  for (const [variable, text, message] of [
    ['TASKLEDGER_LEASE', 'soon', 'lease: expected a number of seconds, at least 0.1, at most 2147483, got: "soon"'],
    ['TASKLEDGER_CONCURRENCY', '-1', 'concurrency: expected a whole number, at least 1, got: -1'],
    ['TASKLEDGER_TRACK_PUBLISH', 'yes', 'trackPublish: expected true or false, got: "yes"'],
    ['TASKLEDGER_REDACT', 'kwargs.token', 'redact: expected a list of paths such as ["kwargs.token"], got: "kwargs.token"'],
    [
      'TASKLEDGER_ROUTES',
      '{"mail":',
      'routes: expected task names or globs, and where each goes, as {"mail.*": "mail"} or {"video.*": {"exchange": "media", "routingKey": "video.encode"}}, got: "{\\"mail\\":"',
    ],
    ['TASKLEDGER_BROKER', 'redis://me:secret@host', 'broker: expected sql:, or a URL such as amqp://localhost, got: "redis://…@host"'],
  ] as const) {
    it(`${variable}=${text} is exit 78, and named`, async () => {
      await using folder = await openFolder()
      await assertRefused(folder, ['list'], { code: 78, message: `${variable}: ${message}` }, { env: { [variable]: text } })
    })
  }
})

describe('a variable that stands for no setting', () => {
  it('is exit 78, and named, with the one that was meant', async () => {
    await using folder = await migrated()
    const message = 'the environment: there is no setting named TASKLEDGER_CONCURENCY'
    const refusal = { code: 78, message, hint: 'did you mean TASKLEDGER_CONCURRENCY?' }
    await assertRefused(folder, ['list'], refusal, { env: { TASKLEDGER_CONCURENCY: '3' } })
  })
})

describe('an app module', () => {
  const library = new URL('dist/index.js', `file://${ROOT}`).href
  const broken = 'run it by itself with node to see where; --traceback shows the stack'
  const modules: readonly (readonly [what: string, text: string, message: string, hint: string])[] = [
    ['that throws on import', 'throw new TypeError("boom")', 'cannot be imported: TypeError: boom', broken],
    ['with a syntax error', 'export const app = {', 'cannot be imported: SyntaxError: Unexpected end of input', broken],
    ['that exports no app', 'export const tasks = 1, x = 2', 'exports no app; it exports tasks, x', 'export const app = createApp()'],
    ['that exports nothing', '', 'exports no app; it exports nothing', 'export const app = createApp()'],
    [
      'with a setting that does not exist',
      `import { createApp } from '${library}'\nexport const app = createApp({ leese: 3 })`,
      'cannot be imported: ConfigurationError: createApp: there is no setting named leese',
      broken,
    ],
    [
      'with two tasks of one name',
      `import { createApp } from '${library}'\nexport const app = createApp()\nfor (const n of [1, 2]) app.task('a', () => n)`,
      'cannot be imported: UsageError: a task named a is registered already',
      broken,
    ],
  ]
  for (const [what, text, message, hint] of modules) {
    it(`${what} is exit 78`, async () => {
      await using folder = await migrated()
      await writeFile(folder.file('tasks.mjs'), text)
      const refusal = { code: 78, message: `the app module ./tasks.mjs ${message}`, hint }
      await assertRefused(folder, ['worker', '--app', './tasks.mjs'], refusal)
    })
  }

  it('that is not there, or not named, is exit 78', async () => {
    await using folder = await migrated()
    const hint = 'name a file, for example ./tasks.mjs, or an installed package'
    await assertRefused(folder, ['worker', '--app', './no.mjs'], {
      code: 78,
      message: `there is no app module at ${folder.file('no.mjs')}`,
      hint,
    })
    const missing = `there is no app module no-such-package: no package of that name is installed in ${folder.path} or above`
    await assertRefused(folder, ['worker', '--app', 'no-such-package'], { code: 78, message: missing, hint })
    await assertRefused(folder, ['worker'], {
      code: 78,
      message: 'there is no app to run tasks of',
      hint: 'give --app ./tasks.mjs, or set app in taskledger.config.json',
    })
  })
})

describe('the direct executables', () => {
  it('are refused as the commands they are', async () => {
    await using folder = await openFolder()
    for (const bin of ['find-stale-tasks', 'find-stale-scheduled', 'send-scheduled']) {
      const direct = await runFile(`${ROOT}bin/${bin}.js`, ['--bogus'], { cwd: folder.path })
      assert.deepEqual(direct, await folder.run([bin, '--bogus']))
    }
  })
})
