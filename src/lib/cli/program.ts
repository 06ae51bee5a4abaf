import { Config, Errors } from '@oclif/core'
import type { Environment } from '../app/setting-sources.js'
import { isAsked } from './asked.js'
import { type Request, readCommandLine } from './command-line.js'
import { failureDocument, failureOf, failureText, tracebackOf } from './failure.js'
import { LedgerHelp } from './help.js'
import { loadCommand, type MakesCommand, type ProgramFacts, rootPlugin } from './plugin.js'

/**
 * Runs one command line as the whole of this process: prints what went wrong and leaves the exit code, but lets the
 * process end by itself, so that nothing written is cut off.
 */
export async function runProgram(argv: readonly string[], facts: ProgramFacts, env: Environment): Promise<void> {
  process.stderr.on('error', endQuietlyWhenClosed)
  try {
    process.exitCode = await answer(readCommandLine(argv, facts), facts, env)
  } catch (error) {
    process.exitCode = tell(error, argv)
  }
}

/** A reader that has seen enough, such as `head`, is no failure. oclif does the same for stdout. */
function endQuietlyWhenClosed(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error
}

/** @returns the exit code */
async function answer(request: Request, facts: ProgramFacts, env: Environment): Promise<number> {
  switch (request.kind) {
    case 'version': {
      const { name, version } = facts.pjson
      process.stdout.write(`${name} ${version} ${process.platform}-${process.arch} node-${process.version}\n`)
      return 0
    }
    case 'help': {
      const config = await loadConfig(facts)
      await new LedgerHelp(config, facts.pjson.oclif.helpOptions).showHelp(request.subject === null ? [] : [request.subject])
      return 0
    }
    case 'run': {
      const Command: MakesCommand = await loadCommand(facts.commands, request.id)
      const command = new Command(request.argv, await loadConfig(facts))
      command.env = env
      await command.execute()
      return command.exitCode
    }
  }
}

function loadConfig(facts: ProgramFacts): Promise<Config> {
  const plugin = rootPlugin(facts)
  return Config.load({ root: facts.root, pjson: facts.pjson, plugins: new Map([[plugin.name, plugin]]) })
}

/** Prints why the program failed, on stdout for a program and on stderr for a person. @returns the exit code */
function tell(error: unknown, argv: readonly string[]): number {
  if (error instanceof Errors.ExitError) return error.oclif.exit ?? 0
  const failure = failureOf(error)
  if (isAsked(argv, '--traceback')) process.stderr.write(`${tracebackOf(error)}\n`)
  if (isAsked(argv, '--json')) process.stdout.write(`${JSON.stringify(failureDocument(failure), null, 2)}\n`)
  else process.stderr.write(`${failureText(failure)}\n`)
  return failure.exitCode
}
