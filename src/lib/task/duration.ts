import { UsageError } from './errors.js'

const UNITS = { w: 604_800_000, d: 86_400_000, h: 3_600_000, m: 60_000, s: 1_000, ms: 1 } as const

const DURATION = /^(?=\d)(?:(?<w>\d+)w)?(?:(?<d>\d+)d)?(?:(?<h>\d+)h)?(?:(?<m>\d+)m)?(?:(?<s>\d+)s)?(?:(?<ms>\d+)ms)?$/

/** A thousand years: before it every database of ours still knows a date. */
export const LONGEST_DURATION_MS = 365_000 * UNITS.d

/** Seconds, not quite 25 days: what a timer of Node's can wait for. One that is set for longer ends at once. */
export const LONGEST_TIME_LIMIT = 2_147_483

export const isTimeLimit = (value: unknown): value is number => typeof value === 'number' && value > 0 && value <= LONGEST_TIME_LIMIT

/**
 * Reads `90s`, `1h30m`, `7d`, `1w2d` or `250ms` as milliseconds: whole numbers, each unit once, the largest first.
 *
 * @throws {UsageError} for any other text, and for more than a thousand years
 */
export function parseDurationMs(text: string): number {
  const parts = DURATION.exec(text)?.groups
  if (!parts) throw new UsageError(`expected a duration like 90s, 15m, 1h30m or 7d, got: ${text}`)
  const totalMs = Object.entries(UNITS).reduce((sum, [unit, unitMs]) => sum + Number(parts[unit] ?? 0) * unitMs, 0)
  return checkDurationMs(totalMs, text)
}

/** @throws {UsageError} when `totalMs`, which came as `text`, is more than a thousand years */
export function checkDurationMs(totalMs: number, text: string): number {
  if (totalMs > LONGEST_DURATION_MS) throw new UsageError(`expected a duration of at most 1000 years, got: ${text}`)
  return totalMs
}

/** `5400000` as `1h30m`; nothing as `0s`. Days are the largest unit, fractions of a millisecond are dropped. */
export function formatDurationMs(durationMs: number): string {
  const { w: _weeks, ...units } = UNITS
  let restMs = Math.floor(durationMs)
  let text = ''
  for (const [unit, unitMs] of Object.entries(units)) {
    const count = Math.floor(restMs / unitMs)
    if (count > 0) text += `${count}${unit}`
    restMs -= count * unitMs
  }
  return text || '0s'
}
