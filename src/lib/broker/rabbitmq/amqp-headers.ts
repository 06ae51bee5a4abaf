import { isJsonObject, type Json, type JsonObject } from '../../task/json.js'

/** A value of a header as amqplib is to send it. */
export type AmqpValue = null | boolean | string | AmqpNumber | readonly AmqpValue[] | { readonly [key: string]: AmqpValue }

/** A number that says which of AMQP's types it is. */
export interface AmqpNumber {
  readonly '!': 'int' | 'long' | 'double'
  readonly value: number
}

const INT = 2 ** 31

/**
 * JSON as the value of a header. Every number gets a type: left to itself amqplib sends 300 as a short, which Celery's library
 * takes for a text, and then reads the rest of the message wrongly. A long is read unsigned there, so a negative one goes as a double.
 */
export function amqpValue(value: Json): AmqpValue {
  if (typeof value === 'number') return { '!': typeOf(value), value }
  if (typeof value !== 'object' || value === null) return value
  if (!isJsonObject(value)) return (value as readonly Json[]).map(amqpValue)
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, amqpValue(inner)]))
}

function typeOf(value: number): AmqpNumber['!'] {
  if (!Number.isInteger(value)) return 'double'
  if (value >= -INT && value < INT) return 'int'
  return value > 0 && Number.isSafeInteger(value) ? 'long' : 'double'
}

/** Whether AMQP carries the value so that it comes back equal. A name is at most 255 bytes; `!` means something to amqplib. */
export function isCarried(value: Json): boolean {
  if (typeof value === 'string') return isWellFormed(value)
  if (typeof value !== 'object' || value === null) return true
  if (!isJsonObject(value)) return (value as readonly Json[]).every(isCarried)
  return Object.entries(value).every(([name, inner]) => isName(name) && isCarried(inner))
}

/** Half a surrogate pair has no UTF-8. */
const isWellFormed = (text: string): boolean => !/\p{Surrogate}/u.test(text)

export const isName = (name: string): boolean =>
  name !== '!' && name !== '__proto__' && isWellFormed(name) && Buffer.byteLength(name) <= 255

/** The value of a header as JSON: a time becomes text, bytes become text, and what else AMQP knows its nearest. */
export function jsonOfAmqp(value: unknown): Json {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value
    case 'number':
      return Number.isFinite(value) ? value : null
    case 'object':
      return value === null ? null : jsonOfObject(value)
    default:
      return null
  }
}

/** What is JSON already is not copied. */
function jsonOfObject(value: object): Json {
  if (Array.isArray(value)) return value.every(isJson) ? value : value.map(jsonOfAmqp)
  if (Buffer.isBuffer(value)) return value.toString('utf8')
  if ('!' in value && 'value' in value) return jsonOfTyped(value['!'], value.value)
  const fields = Object.entries(value)
  if (fields.every(([, inner]) => isJson(inner))) return value as JsonObject
  return Object.fromEntries(fields.map(([key, inner]) => [key, jsonOfAmqp(inner)]))
}

const isJson = (value: unknown): boolean => jsonOfAmqp(value) === value

/** amqplib leaves seconds since 1970 and decimal numbers in their typed form. */
function jsonOfTyped(type: unknown, value: unknown): Json {
  if (type === 'timestamp' && typeof value === 'number') {
    const time = new Date(value * 1000)
    return Number.isNaN(time.getTime()) ? value : time.toISOString()
  }
  if (type === 'decimal' && typeof value === 'object' && value !== null && 'digits' in value && 'places' in value) {
    return Number(value.digits) / 10 ** Number(value.places)
  }
  return jsonOfAmqp(value)
}
