import assert from 'node:assert/strict'
import { isAsked } from '../../src/lib/cli/asked.js'
import { readCommandLine } from '../../src/lib/cli/command-line.js'
import type { ProgramFacts } from '../../src/lib/cli/plugin.js'

const load = () => Promise.reject(new Error('no command runs here'))

const FACTS = {
  root: '/',
  pjson: { name: 'taskledger', version: '1.0.0', oclif: { additionalHelpFlags: ['-h'], additionalVersionFlags: ['-V'] } },
  manifest: { version: '1.0.0', commands: { 'find-stale-scheduled': { hiddenAliases: ['find-stale-scheduled-tasks'] } } },
  commands: {
    'find-stale-tasks': load,
    'find-stale-scheduled': load,
    migrate: load,
    'migrate:status': load,
    'periodic:list': load,
  },
} as unknown as ProgramFacts

const read = (line: string) => readCommandLine(line.split(' ').filter(Boolean), FACTS)

describe('a command line', () => {
  it('names a command and gives it the rest', () => {
    assert.deepEqual(read('find-stale-tasks --hours 1'), { kind: 'run', id: 'find-stale-tasks', argv: ['--hours', '1'] })
  })

  it('names a command of a family with a space or a colon', () => {
    assert.deepEqual(read('migrate status --json'), { kind: 'run', id: 'migrate:status', argv: ['--json'] })
    assert.deepEqual(read('migrate:status --json'), read('migrate status --json'))
  })

  it('keeps words that are no part of a name as arguments', () => {
    assert.deepEqual(read('find-stale-tasks 1 2'), { kind: 'run', id: 'find-stale-tasks', argv: ['1', '2'] })
    assert.deepEqual(read('migrate 0001_ledger'), { kind: 'run', id: 'migrate', argv: ['0001_ledger'] })
  })

  it('may use aliases and the underscores of the ancestor', () => {
    assert.equal(JSON.stringify(read('find_stale_tasks')), JSON.stringify(read('find-stale-tasks')))
    assert.equal(JSON.stringify(read('find_stale_scheduled_tasks')), JSON.stringify(read('find-stale-scheduled')))
  })

  it('asks for help of everything, a command or a family', () => {
    for (const line of ['', '--help', '-h', 'help']) assert.deepEqual(read(line), { kind: 'help', subject: null }, line)
    for (const line of ['migrate --help', 'migrate -q -h', 'help migrate'])
      assert.deepEqual(read(line), { kind: 'help', subject: 'migrate' }, line)
    assert.deepEqual(read('periodic'), { kind: 'help', subject: 'periodic' })
    assert.deepEqual(read('periodic --help'), { kind: 'help', subject: 'periodic' })
  })

  it('asks for the version, also after a command', () => {
    for (const line of ['--version', '-V', 'migrate --version']) assert.deepEqual(read(line), { kind: 'version' }, line)
  })

  it('means a flag only before --', () => {
    assert.equal(isAsked(['a', '--json'], '--json'), true)
    assert.equal(isAsked(['a', '--', '--json'], '--json'), false)
    assert.deepEqual(read('migrate -- --help'), { kind: 'run', id: 'migrate', argv: ['--', '--help'] })
  })

  it('with an unknown command is exit 127 and names the one that was meant', () => {
    const hint = 'did you mean find-stale-tasks? See taskledger --help'
    assert.throws(() => read('find-stael-tasks'), { exitCode: 127, message: 'there is no command named find-stael-tasks', hint })
    assert.throws(() => read('dance --help'), { exitCode: 127, message: 'there is no command named dance', hint: 'see taskledger --help' })
  })

  it('with a flag before the command is exit 2', () => {
    assert.throws(() => read('--json migrate'), { exitCode: 2, message: 'expected a command first, got: --json' })
  })
})
