// A program with commands that end in every way one can, on the frame of the real one.
import { Args, Flags } from '@oclif/core'
import { LedgerCommand } from '../../dist/lib/cli/command.js'
import { runProgram } from '../../dist/lib/cli/program.js'
import { BusyError } from '../../dist/lib/task/errors.js'
import { describeCommands } from '../../scripts/manifest.mjs'

const part = (name) => ({
  async close() {
    process.stderr.write(`closed ${name}\n`)
  },
})

/** Returns what it is given, and says it. */
class Answer extends LedgerCommand {
  static args = { document: Args.string({ required: true, ignoreStdin: true }) }
  static flags = { check: Flags.boolean() }

  async run() {
    const { args, flags } = await this.parse(Answer)
    this.log('the answer')
    this.say('the talk')
    if (flags.check) this.exitCode = 1
    return JSON.parse(args.document)
  }
}

/** Throws what it is told to, with two things open. */
class Fail extends LedgerCommand {
  static args = { how: Args.string({ required: true, ignoreStdin: true }) }

  async run() {
    const { args } = await this.parse(Fail)
    this.closing(part('first'))
    this.closing(part('second'))
    if (args.how === 'busy') throw new BusyError('somebody else\nholds it', { hint: 'wait', cause: new Error('the lock') })
    if (args.how === 'foreign') throw Object.assign(new Error('thrown by a copy of the library'), { exitCode: 69, hint: undefined })
    if (args.how === 'nothing') throw undefined
    throw new TypeError(`\u001b[2Jx is not a function`, { cause: new Error('the root of it') })
  }
}

/** Prints more lines than a pipe holds, and returns nothing. */
class Lines extends LedgerCommand {
  async run() {
    await this.parse(Lines)
    for (let i = 0; i < 100_000; i++) this.log(`line ${i}`)
  }
}

const commands = Object.fromEntries(
  Object.entries({ answer: Answer, fail: Fail, lines: Lines }).map(([id, command]) => [id, async () => ({ default: command })]),
)
const pjson = { name: 'fixture', version: '1.0.0', oclif: { exitCodes: { default: 1 }, topicSeparator: ' ' } }
const root = import.meta.dirname
const manifest = await describeCommands(root, structuredClone(pjson), commands)
await runProgram(process.argv.slice(2), { root, pjson, manifest, commands }, process.env)
