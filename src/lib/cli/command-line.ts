import { nearest } from '../app/nearest.js'
import { PlainError, UsageError } from '../task/errors.js'
import { isAsked } from './asked.js'
import type { ProgramFacts } from './plugin.js'

/** What a command line asks for. */
export type Request =
  | { readonly kind: 'run'; readonly id: string; readonly argv: string[] }
  /** Help for a command or a family of commands; null: for all. */
  | { readonly kind: 'help'; readonly subject: string | null }
  | { readonly kind: 'version' }

/** As a shell says of a program it cannot find. */
class UnknownCommandError extends PlainError {
  override readonly exitCode = 127
}

/** The longest id has fewer words: `migrate status`. */
const MOST_WORDS = 3

/**
 * @throws {UnknownCommandError} when the first word is no command
 * @throws {UsageError} when a flag comes before the command
 */
export function readCommandLine(argv: readonly string[], facts: ProgramFacts): Request {
  const { additionalHelpFlags = [], additionalVersionFlags = [] } = facts.pjson.oclif
  const words = argv[0] === 'help' ? [...argv.slice(1), '--help'] : argv
  const { id, rest } = splitCommand(words, facts)
  const [next] = rest

  if (next !== undefined && ['--version', ...additionalVersionFlags].includes(next)) return { kind: 'version' }
  const wantsHelp = ['--help', ...additionalHelpFlags].some((flag) => isAsked(rest, flag))
  if (id !== null) return wantsHelp ? { kind: 'help', subject: id } : { kind: 'run', id, argv: rest }
  if (next === undefined || (wantsHelp && next.startsWith('-'))) return { kind: 'help', subject: null }
  if (Object.keys(facts.commands).some((known) => known.startsWith(`${next}:`))) return { kind: 'help', subject: next }
  throw unknownCommand(next, facts)
}

/**
 * The command that the first words name, and what is left for it. `migrate status` and `migrate:status` are one, and so
 * are `find-stale-tasks` and the ancestor's `find_stale_tasks`.
 */
function splitCommand(argv: readonly string[], facts: ProgramFacts): { id: string | null; rest: string[] } {
  const ids = idsByName(facts)
  const firstFlag = argv.findIndex((word) => word.startsWith('-'))
  const words = firstFlag === -1 ? argv.length : firstFlag
  for (let count = Math.min(words, MOST_WORDS); count > 0; count--) {
    const id = ids.get(argv.slice(0, count).join(':').replaceAll('_', '-'))
    if (id !== undefined) return { id, rest: argv.slice(count) }
  }
  return { id: null, rest: [...argv] }
}

/** Every id and alias, and the id it stands for. */
function idsByName({ commands, manifest }: ProgramFacts): ReadonlyMap<string, string> {
  const names = Object.keys(commands).flatMap((id) => {
    const { aliases = [], hiddenAliases = [] } = manifest.commands[id] ?? {}
    return [id, ...aliases, ...hiddenAliases].map((name) => [name, id] as const)
  })
  return new Map(names)
}

function unknownCommand(first: string, { commands }: ProgramFacts): PlainError {
  if (first.startsWith('-')) {
    const hint = 'flags come after it: taskledger COMMAND --flag; see taskledger --help'
    return new UsageError(`expected a command first, got: ${first}`, { hint })
  }
  const meant = nearest(first, Object.keys(commands))
  const hint = meant === undefined ? 'see taskledger --help' : `did you mean ${meant.replaceAll(':', ' ')}? See taskledger --help`
  return new UnknownCommandError(`there is no command named ${first}`, { hint })
}
