import { UsageError } from './errors.js'

const UNIT_MS = { s: 1000, m: 60_000, h: 3_600_000 } as const

/**
 * Milliseconds between two starts of a task limited to `10/s`, `10/m`, `0.5/h` or `10` (a second, as in Celery).
 *
 * @throws {UsageError} for any other text
 */
export function rateIntervalMs(rateLimit: string): number {
  const [, count = '', unit = 's'] = /^(\d+(?:\.\d+)?)(?:\/([smh]))?$/.exec(rateLimit) ?? []
  const perUnit = Number(count)
  if (count === '' || perUnit === 0) throw new UsageError(`rateLimit: expected a rate such as 10/s, 10/m or 10/h, got: ${rateLimit}`)
  return Math.ceil(UNIT_MS[unit as keyof typeof UNIT_MS] / perUnit)
}
