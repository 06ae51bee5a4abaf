import { parseDurationMs } from '../task/duration.js'
import { UsageError } from '../task/errors.js'

/** `2026-11-20 14:17:37.096000+00:00`: an instant as Python prints it, so that what reads the classic lines still can. */
export const classicInstant = (at: Date): string => `${at.toISOString().slice(0, -1).replace('T', ' ')}000+00:00`

/** `2026-11-20 15:17:37 +01:00`: an instant on this machine's clock, for a person at a terminal. */
export function localInstant(at: Date): string {
  const offsetMinutes = -at.getTimezoneOffset()
  const local = new Date(at.getTime() + offsetMinutes * 60_000).toISOString().slice(0, 19).replace('T', ' ')
  const twoDigits = (value: number) => String(value).padStart(2, '0')
  const offset = Math.abs(offsetMinutes)
  return `${local} ${offsetMinutes < 0 ? '-' : '+'}${twoDigits(Math.floor(offset / 60))}:${twoDigits(offset % 60)}`
}

const AGE_UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1_000],
] as const

/** `1d 3h`, `12m 5s`, `0s`: the two largest units that count. An age below zero, from a clock that is ahead, is `0s`. */
export function formatAge(ageMs: number): string {
  let restMs = Math.max(0, ageMs)
  const parts: string[] = []
  for (const [unit, unitMs] of AGE_UNITS) {
    const count = Math.floor(restMs / unitMs)
    restMs -= count * unitMs
    if (count > 0) parts.push(`${count}${unit}`)
    else if (parts.length > 0) break
    if (parts.length === 2) break
  }
  return parts.join(' ') || '0s'
}

const INSTANT = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)(Z|[+-]\d\d:\d\d)?)?$/i

/**
 * Reads a date (`2026-11-20`), a time (`2026-11-20T14:17`, `2026-11-20 14:17:37.096000+00:00`) or how long before
 * `now` (`2h`). Without an offset it is UTC, as everything the ledger prints for a machine is.
 *
 * @throws {UsageError} for any other text
 */
export function parseInstant(text: string, now: Date): Date {
  const written = INSTANT.exec(text)
  if (written) {
    const [, date, time = '00:00', offset = 'Z'] = written
    const at = new Date(`${date}T${time}${offset.toUpperCase()}`)
    if (Number.isNaN(at.getTime())) throw new UsageError(`expected a date that exists, got: ${text}`)
    return at
  }
  if (!/^\d+[a-z]/.test(text))
    throw new UsageError(`expected a date like 2026-11-20, a time like 2026-11-20T14:17Z or an age like 2h, got: ${text}`)
  return new Date(now.getTime() - parseDurationMs(text))
}

/**
 * Reads a time as `parseInstant` does, or how long after `now` (`10m`).
 *
 * @throws {UsageError} for any other text
 */
export function parseDue(text: string, now: Date): Date {
  if (INSTANT.test(text)) return parseInstant(text, now)
  if (!/^\d+[a-z]/.test(text)) throw new UsageError(`expected a time like 2026-11-20T14:17Z or how long from now, like 10m, got: ${text}`)
  return new Date(now.getTime() + parseDurationMs(text))
}
