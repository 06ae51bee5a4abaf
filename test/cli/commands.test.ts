import assert from 'node:assert/strict'
import { commands } from '../../src/commands/index.js'
import { LedgerCommand } from '../../src/lib/cli/command.js'
import { run } from '../helpers/run.js'

type Classes = Record<string, typeof LedgerCommand>

describe('every command', () => {
  let classes: Classes
  before(async () => {
    const loaded = await Promise.all(Object.entries(commands).map(async ([id, load]) => [id, (await load()).default] as const))
    classes = Object.fromEntries(loaded) as unknown as Classes
  })

  const idsWhere = (wrong: (command: typeof LedgerCommand) => boolean) => Object.keys(classes).filter((id) => wrong(classes[id]!))

  it('is built on the frame', () => {
    assert.deepEqual(
      idsWhere((command) => !(command.prototype instanceof LedgerCommand) || command.baseFlags !== LedgerCommand.baseFlags),
      [],
    )
  })

  it('has a summary of one sentence, and examples', () => {
    assert.deepEqual(
      idsWhere(({ summary, examples }) => !/^[A-Z].*\.$/.test(summary ?? '') || !examples?.length),
      [],
    )
  })

  it('never takes an argument from stdin by itself', () => {
    assert.deepEqual(
      idsWhere(({ args }) => Object.values(args ?? {}).some((arg) => !arg.ignoreStdin)),
      [],
    )
  })

  it('lets a repeatable flag take one value at a time, so that arguments may follow it', () => {
    assert.deepEqual(
      idsWhere(({ flags }) =>
        Object.values(flags ?? {}).some((flag) => flag.type === 'option' && flag.multiple && !flag.multipleNonGreedy),
      ),
      [],
    )
  })

  it('is listed by help in the order of the map, its hidden names are not', async () => {
    const { stdout } = await run('run', ['--help'])
    const listed = [...stdout.slice(stdout.indexOf('COMMANDS')).matchAll(/^ {2}([a-z][a-z-]*(?: [a-z]+)?) {2,}\S/gm)].map(
      (match) => match[1],
    )
    assert.deepEqual(
      listed,
      Object.keys(classes).map((id) => id.replaceAll(':', ' ')),
    )
  })
})
