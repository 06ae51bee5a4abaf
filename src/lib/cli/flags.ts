import { Flags, type Interfaces } from '@oclif/core'
import type { TaskFilter } from '../ledger/filter.js'
import { checkDurationMs, parseDurationMs } from '../task/duration.js'
import { parseDue, parseInstant } from './time.js'
import { LOG_FORMATS, LOG_LEVELS } from './worker-log.js'

/** Every command takes these. */
export const globalFlags = {
  quiet: Flags.boolean({ char: 'q', summary: 'Print the answer and errors only.', helpGroup: 'GLOBAL' }),
  database: Flags.string({ summary: 'Where the ledger is, for example sqlite:taskledger.db.', helpValue: 'URL', helpGroup: 'GLOBAL' }),
  broker: Flags.string({
    summary: 'Where the messages go, sql: (the ledger itself) or amqp://HOST.',
    helpValue: 'URL',
    helpGroup: 'GLOBAL',
  }),
  config: Flags.string({ summary: 'Read settings from this file.', helpValue: 'FILE', helpGroup: 'GLOBAL' }),
  json: Flags.boolean({ summary: 'Print one JSON document.', helpGroup: 'GLOBAL' }),
  'no-color': Flags.boolean({ summary: 'Never use colours.', helpGroup: 'GLOBAL' }),
  traceback: Flags.boolean({ summary: 'When it fails, show where.', helpGroup: 'GLOBAL' }),
}

const durationPart = (unit: string) => Flags.integer({ summary: `Older than this many ${unit}.`, min: 0, helpValue: 'N', helpGroup: 'AGE' })

/** How old a row must be; the parts add up. `ageMs` reads them. */
export const durationFlags = {
  weeks: durationPart('weeks'),
  days: durationPart('days'),
  hours: durationPart('hours'),
  minutes: durationPart('minutes'),
  seconds: durationPart('seconds'),
  microseconds: durationPart('microseconds'),
  'older-than': Flags.custom<number>({
    summary: 'Older than this: 90s, 15m, 1h30m or 7d.',
    helpValue: 'AGE',
    helpGroup: 'AGE',
    parse: async (text) => parseDurationMs(text),
  })(),
}

type DurationFlags = { readonly [Name in keyof typeof durationFlags]?: number | undefined }

/**
 * The sum of the duration flags; none given is 0, which means now. Rounded up to a whole millisecond.
 *
 * @throws {UsageError} when they come to more than a thousand years
 */
export function ageMs(flags: DurationFlags): number {
  const { weeks = 0, days = 0, hours = 0, minutes = 0, seconds = 0, microseconds = 0 } = flags
  const partsMs = ((((weeks * 7 + days) * 24 + hours) * 60 + minutes) * 60 + seconds) * 1_000 + Math.ceil(microseconds / 1_000)
  const totalMs = partsMs + (flags['older-than'] ?? 0)
  return checkDurationMs(totalMs, `${Math.floor(totalMs / 31_536_000_000)} years`)
}

const instant = Flags.custom<Date>({
  helpValue: 'WHEN',
  helpGroup: 'SELECTION',
  parse: async (text) => parseInstant(text, new Date()),
})

/** When a task is to be sent: `eta: due({ summary: … })`. */
export const due = Flags.custom<Date>({ helpValue: 'WHEN', parse: async (text) => parseDue(text, new Date()) })

/** Which rows a command means. Flags of different names must all hold; of one flag given twice, either may. */
export const filterFlags = {
  task: Flags.string({
    summary: "Tasks of this name; * stands for any text: 'mail.*'. Repeatable.",
    multiple: true,
    multipleNonGreedy: true,
    helpValue: 'GLOB',
    helpGroup: 'SELECTION',
  }),
  status: Flags.string({
    summary: 'Tasks in this status. Repeatable.',
    multiple: true,
    multipleNonGreedy: true,
    helpValue: 'STATUS',
    helpGroup: 'SELECTION',
  }),
  queue: Flags.string({ summary: 'Tasks of this queue.', helpValue: 'NAME', helpGroup: 'SELECTION' }),
  'error-type': Flags.string({ summary: 'Tasks whose last error is of this type.', helpValue: 'NAME', helpGroup: 'SELECTION' }),
  since: instant({ summary: 'Sent at or after: a date, a time or an age such as 2h.' }),
  until: instant({ summary: 'Sent before: a date, a time or an age such as 2h.' }),
}

type FilterFlags = Interfaces.InferredFlags<typeof filterFlags>

/** The filter flags as the ledger's filter. */
export const filterOf = ({ task, status, queue, 'error-type': errorType, since, until }: FilterFlags): TaskFilter => ({
  ...(task && { tasks: task }),
  ...(status && { statuses: status }),
  ...(queue !== undefined && { queue }),
  ...(errorType !== undefined && { errorType }),
  ...(since && { since }),
  ...(until && { until }),
})

/** `--reason`, repeatable, of the reasons the command knows; `dependsOn` names flags without which it means nothing. */
export const reasonFlag = <const Reasons extends readonly string[]>(reasons: Reasons, dependsOn: string[] = []) =>
  Flags.option({
    summary: 'Only rows listed for this reason. Repeatable.',
    options: reasons,
    dependsOn,
    multiple: true,
    multipleNonGreedy: true,
    helpGroup: 'SELECTION',
  })()

/** `limit: Flags.integer({ ...limit, default: 50 })`: each command has a default of its own, or none. */
export const limit = { summary: 'At most this many rows.', min: 1, helpValue: 'N' }

/** For a command that lists what should not be there. */
export const checkFlag = { check: Flags.boolean({ summary: 'Exit 1 when anything is found.' }) }

/** For a command that keeps a log. */
export const logFlags = {
  'log-level': Flags.option({ summary: 'Log this and what is worse.', options: LOG_LEVELS, default: 'info' })(),
  'log-format': Flags.option({
    summary: 'Log lines for people (text), or objects with the keys that pino writes (json).',
    options: LOG_FORMATS,
    default: 'text',
  })(),
}

/** For a command that changes many rows. */
export const bulkFlags = {
  yes: Flags.boolean({ char: 'y', summary: 'Do not ask.' }),
  'dry-run': Flags.boolean({ summary: 'Say what would be done, and do nothing.', default: false }),
}
