import { inspect } from 'node:util'
import { nearest } from '../app/nearest.js'
import { PlainError, UsageError } from '../task/errors.js'
import { printable, printableLines } from './printable.js'

/** How a command that failed is told to a person, a program and a shell. */
export interface Failure {
  readonly name: string
  readonly message: string
  readonly hint: string | null
  readonly exitCode: number
}

/** sysexits: a bug of ours. */
const EX_SOFTWARE = 70

export function failureOf(error: unknown): Failure {
  const { name, message } = error instanceof Error ? error : { name: 'Error', message: inspect(error) }
  if (isPlain(error)) return { name, message, hint: error.hint ?? null, exitCode: error.exitCode }
  const hint = 'this is a bug in taskledger; run it again with --traceback to see where'
  return { name, message: `${name}: ${message}`, hint, exitCode: EX_SOFTWARE }
}

/**
 * By its fields and not by its class alone: a program of the user's that is loaded by a command brings the library's
 * own copy of the class with it.
 */
const isPlain = (error: unknown): error is PlainError =>
  error instanceof PlainError || (error instanceof Error && 'hint' in error && 'exitCode' in error && typeof error.exitCode === 'number')

/** What stderr says. */
export const failureText = ({ message, hint }: Failure): string =>
  `taskledger: ${printableLines(message)}${hint === null ? '' : `\n  ${printable(hint)}`}`

/** What `--json` prints. */
export const failureDocument = ({ name, message, hint, exitCode }: Failure) => ({
  version: 1,
  kind: 'error',
  error: { name, message, hint, exitCode },
})

/** The stack, and that of every cause. */
export const tracebackOf = (error: unknown): string => printableLines(inspect(error, { colors: false, depth: 4 }))

/** What the parser threw, as one sentence. It writes over several lines, and puts its advice into the message. */
export function usageErrorOf(error: Error, knownFlags: readonly string[]): UsageError {
  const message = error.message
    .replaceAll('\nSee more help with --help', '')
    .replace(/^The following errors? occurred:/, '')
    .replace(/^Parsing (--\S+)\s+/, '$1: ')
    .replace(/\s*\n\s*/g, ' ')
    .trim()
    .replace(/^(--[a-z-]+)=.* cannot also be provided when using /, '$1 cannot be given with ')
    .replace(/^All of the following must be provided when using (--[a-z-]+): /, '$1 needs ')
    .replace(/^Missing \d+ required args?: (\S+)\s.*/, 'expected an argument, $1, got none')
  const meant = 'flags' in error && Array.isArray(error.flags) ? nearest(String(error.flags[0]), knownFlags) : undefined
  const hint = meant === undefined ? 'See more help with --help' : `did you mean ${meant}? See more help with --help`
  return new UsageError(message, { hint, cause: error })
}
