/**
 * An instant as Celery writes it: six digits after the second, because it reads three as microseconds.
 *
 * @param instant epoch milliseconds
 */
export const celeryTime = (instant: number): string => new Date(instant).toISOString().replace('Z', '000+00:00')

const ISO_TIME = /^([+-]\d{6}|\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d+))?)?(Z|[+-]\d\d:?\d\d)?$/

/**
 * Reads what Celery writes: any number of digits after the second, any offset, and UTC where there is none. Null: it is no time.
 *
 * @returns epoch milliseconds; a part of a millisecond counts as a whole one, so that nothing begins early
 */
export function readCeleryTime(text: string): number | null {
  const [, year, month, day, hour, minute, second = '00', fraction = '', zone = 'Z'] = ISO_TIME.exec(text) ?? []
  if (year === undefined) return null
  const offset = zone === 'Z' || zone.includes(':') ? zone : `${zone.slice(0, 3)}:${zone.slice(3)}`
  const whole = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}.${fraction.slice(0, 3).padEnd(3, '0')}${offset}`)
  if (Number.isNaN(whole)) return null
  return /[1-9]/.test(fraction.slice(3)) ? whole + 1 : whole
}
