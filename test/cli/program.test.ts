import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ROOT, run, runFile, runUnread } from '../helpers/run.js'

const FIXTURE = `${ROOT}test/cli/fixture.mjs`
const fixture = (...args: string[]) => runFile(FIXTURE, args)

const bug = 'this is a bug in taskledger; run it again with --traceback to see where'

describe('a command', () => {
  it('prints its answer on stdout and its talk on stderr, and exits 0', async () => {
    assert.deepEqual(await fixture('answer', '{}'), { stdout: 'the answer\n', stderr: 'the talk\n', code: 0 })
  })

  it('keeps its talk to itself with --quiet', async () => {
    assert.deepEqual(await fixture('answer', '{}', '-q'), { stdout: 'the answer\n', stderr: '', code: 0 })
  })

  it('prints one JSON document and nothing else with --json, whatever the document', async () => {
    for (const document of ['{"version":1,"kind":"answer"}', 'null', '0', '[]', '""', 'false']) {
      const { stdout, stderr, code } = await fixture('answer', document, '--json')
      assert.deepEqual({ document: JSON.parse(stdout), stderr, code }, { document: JSON.parse(document), stderr: '', code: 0 })
    }
  })

  it('that returns nothing prints null with --json', async () => {
    assert.deepEqual(await fixture('lines', '--json'), { stdout: 'null\n', stderr: '', code: 0 })
  })

  it('may find something without failing: exit 1 and its answer, with and without --json', async () => {
    assert.deepEqual(await fixture('answer', '[]', '--check'), { stdout: 'the answer\n', stderr: 'the talk\n', code: 1 })
    assert.deepEqual(await fixture('answer', '[]', '--check', '--json'), { stdout: '[]\n', stderr: '', code: 1 })
  })

  it('ends quietly when nobody reads on', async () => {
    assert.deepEqual(await runUnread(FIXTURE, ['lines']), { stderr: '', code: 0 })
  })
})

describe('an error a person can put right', () => {
  it('is told in a sentence with a hint, by its own exit code, after all that was open is closed', async () => {
    const told = 'closed second\nclosed first\ntaskledger: somebody else\nholds it\n  wait\n'
    assert.deepEqual(await fixture('fail', 'busy'), { stdout: '', stderr: told, code: 75 })
  })

  it('is one JSON document with --json, by the same exit code', async () => {
    const { stdout, code } = await fixture('fail', 'busy', '--json')
    const error = { name: 'BusyError', message: 'somebody else\nholds it', hint: 'wait', exitCode: 75 }
    assert.deepEqual([JSON.parse(stdout), code], [{ version: 1, kind: 'error', error }, 75])
  })

  it('is known also when another copy of the library threw it', async () => {
    const { stderr, code } = await fixture('fail', 'foreign', '-q')
    assert.match(stderr, /taskledger: thrown by a copy of the library\n$/)
    assert.equal(code, 69)
  })

  it('shows its stack and its causes with --traceback only', async () => {
    assert.doesNotMatch((await fixture('fail', 'busy')).stderr, / at |the lock/)
    assert.match(
      (await fixture('fail', 'busy', '--traceback')).stderr,
      /BusyError: somebody else.* at .*fixture\.mjs.*\[cause\]: Error: the lock/s,
    )
  })
})

describe('a bug', () => {
  it('is exit 70 also when nobody reads what it says', async () => {
    const child = spawn(process.execPath, [FIXTURE, 'fail', 'bug'])
    child.stderr.destroy()
    assert.deepEqual(await once(child, 'close'), [70, null])
  })

  it('is exit 70, its name and message without a stack, and what to do', async () => {
    const { stderr, code } = await fixture('fail', 'bug')
    assert.equal(stderr, `closed second\nclosed first\ntaskledger: TypeError: \\u001b[2Jx is not a function\n  ${bug}\n`)
    assert.equal(code, 70)
  })

  it('shows its stack and its causes with --traceback', async () => {
    assert.match((await fixture('fail', 'bug', '--traceback')).stderr, /TypeError: .* at .*fixture\.mjs.*\[cause\]: Error: the root of it/s)
  })

  it('is one even when what was thrown is no error', async () => {
    const { stderr, code } = await fixture('fail', 'nothing')
    assert.match(stderr, /taskledger: Error: undefined\n/)
    assert.equal(code, 70)
  })
})

describe('bad usage', () => {
  const sentence = async (...args: string[]) => {
    const { stdout, stderr, code } = await run('run', args)
    assert.deepEqual([stdout, code], ['', 2])
    return stderr
  }

  it('of a flag is exit 2 and one sentence', async () => {
    const advice = '\n  See more help with --help\n'
    assert.equal(await sentence('migrate', '--bogus'), `taskledger: Nonexistent flag: --bogus${advice}`)
    assert.equal(await sentence('migrate', '--database'), `taskledger: Flag --database expects a value${advice}`)
    assert.equal(
      await sentence('migrate', '--config', 'a', '--config', 'b'),
      `taskledger: Flag --config can only be specified once${advice}`,
    )
  })

  it('of a flag that is nearly one names the one', async () => {
    assert.equal(
      await sentence('migrate', '--databse', 'x'),
      'taskledger: Nonexistent flag: --databse\n  did you mean --database? See more help with --help\n',
    )
  })

  it('by words too many is exit 2 and not an unknown command', async () => {
    assert.match(await sentence('migrate', 'status', 'a', 'b'), /^taskledger: Unexpected arguments: a, b\n/)
  })

  it('is one JSON document with --json', async () => {
    const { stdout, stderr, code } = await run('run', ['migrate', '--bogus', '--json'])
    const error = { name: 'UsageError', message: 'Nonexistent flag: --bogus', hint: 'See more help with --help', exitCode: 2 }
    assert.deepEqual([JSON.parse(stdout), stderr, code], [{ version: 1, kind: 'error', error }, '', 2])
  })
})

describe('the program', () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'taskledger-'))
  })
  after(() => rm(folder, { recursive: true }))

  it('without a command lists the commands, without colours in a pipe', async () => {
    const { stdout, stderr, code } = await run('run', [])
    assert.match(stdout, /^COMMANDS\n {2}\S+ .*^ {2}migrate status +Show which migrations the database has\.$/ms)
    assert.deepEqual([stdout.includes('\u001b'), stderr, code], [false, '', 0])
  })

  it('with an unknown command exits 127', async () => {
    assert.deepEqual(await run('run', ['migrat']), {
      stdout: '',
      stderr: 'taskledger: there is no command named migrat\n  did you mean migrate? See taskledger --help\n',
      code: 127,
    })
  })

  it('has a direct executable for the commands that matter most', async () => {
    for (const bin of ['find-stale-tasks', 'find-stale-scheduled', 'send-scheduled']) {
      const { stderr } = await run(bin, ['--no-such-flag'], { cwd: folder })
      assert.match(stderr, /Nonexistent flag: --no-such-flag/, bin)
    }
  })

  it('does not care what NODE_ENV is', async () => {
    const plain = await run('run', ['migrate', '--help'])
    for (const NODE_ENV of ['development', 'test', 'production'])
      assert.deepEqual(await run('run', ['migrate', '--help'], { env: { NODE_ENV } }), plain)
  })

  it('reads no flag from stdin', async () => {
    const { stdout } = await run('run', ['migrate', '--check', '--json'], { cwd: folder, input: '0001_ledger\n' })
    assert.equal(JSON.parse(stdout).error.exitCode, 78)
  })

  it('imports modules of the user’s, without a warning', async () => {
    await writeFile(
      join(folder, 'settings.mjs'),
      `import { join } from 'node:path'\nexport default { database: 'sqlite:' + join('.', 'own.db') }\n`,
    )
    assert.deepEqual(await run('run', ['migrate', '-q', '--config', 'settings.mjs'], { cwd: folder }), {
      stdout: 'Applying 0001_ledger... OK\nApplying 0002_workflows... OK\nApplying 0003_celery_results... OK\n',
      stderr: '',
      code: 0,
    })
    assert.ok((await readdir(folder)).includes('own.db'))
  })

  it('also runs from its sources', async () => {
    const { stdout, stderr, code } = await run('dev', ['migrate', 'status', '--help'])
    assert.match(stdout, /^Show which migrations the database has\./)
    assert.deepEqual([stderr, code], ['', 0])
  })
})

describe('the code cache', () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'taskledger-'))
    await mkdir(join(folder, 'dist'))
    await cp(join(ROOT, 'dist', 'cli.cjs'), join(folder, 'dist', 'cli.cjs'))
    await cp(join(ROOT, 'bin'), join(folder, 'bin'), { recursive: true })
    await cp(join(ROOT, 'package.json'), join(folder, 'package.json'))
    await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'), 'junction')
  })
  after(() => rm(folder, { recursive: true }))

  const version = () => runFile(join(folder, 'bin', 'run.js'), ['--version'])
  const caches = async () => (await readdir(join(folder, 'dist'))).filter((name) => name.includes('.cache'))

  const nodeHasItsOwn = Number(process.versions.node.split('.')[0]) >= 22
  ;(nodeHasItsOwn ? () => {} : it)('is made by the first run, and a damaged one is made anew', async () => {
    const first = await version()
    assert.equal(first.code, 0)
    const [cache, ...others] = await caches()
    assert.ok(cache)
    assert.deepEqual(others, [])

    for (const damage of ['', '--version\n', `--version\n${'x'.repeat(1000)}`]) {
      await writeFile(join(folder, 'dist', cache), damage)
      assert.deepEqual(await version(), first)
    }
    assert.deepEqual(await caches(), [cache])
  })
})
