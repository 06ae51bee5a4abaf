import { UsageError } from './errors.js'

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }
export type JsonObject = { readonly [key: string]: Json }

/** How deep a value may nest; a circular value is found by passing it. */
const MAX_DEPTH = 500

/** The largest argument list, result or set of options the ledger stores: RabbitMQ's own limit for a message. */
export const MAX_JSON_BYTES = 16 * 1024 * 1024

interface Fault {
  readonly path: string
  readonly what: string
}

function nameOf(value: object): string {
  const name: unknown = value.constructor?.name
  return typeof name === 'string' && name !== '' ? `a ${name}` : 'an object that is not plain'
}

function faultOfObject(value: object, depth: number): Fault | null {
  if (depth > MAX_DEPTH) return { path: '', what: `circular, or nested deeper than ${MAX_DEPTH} levels` }
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const fault = faultOf(value[i], depth + 1)
      if (fault) return { path: `[${i}]${fault.path}`, what: fault.what }
    }
    return null
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return { path: '', what: nameOf(value) }
  for (const [key, inner] of Object.entries(value)) {
    const fault = faultOf(inner, depth + 1)
    if (fault) return { path: `${/^[A-Za-z_$][\w$]*$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`}${fault.path}`, what: fault.what }
  }
  return null
}

function faultOf(value: unknown, depth: number): Fault | null {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return null
    case 'number':
      return Number.isFinite(value) ? null : { path: '', what: String(value) }
    case 'object':
      return value === null ? null : faultOfObject(value, depth)
    default:
      return { path: '', what: typeof value === 'undefined' ? 'undefined' : `a ${typeof value}` }
  }
}

/** A value that JSON cannot carry unchanged, or that is larger than {@link MAX_JSON_BYTES}. */
export class NotJsonError extends UsageError {}

/**
 * The JSON text of `value`, which reads back equal: nothing is dropped, rounded or turned into text. JSON.stringify knows one
 * zero, so -0 reads back as 0, which it equals (`===`); a task whose result was rounded to -0 has not failed.
 *
 * @param where how the caller knows the value, for example `args` or `result`; the error names the path from there
 * @throws {NotJsonError} for a Date, undefined, NaN, bigint, function, class instance, circular value or one too large
 */
export function encodeJson(value: unknown, where: string): string {
  const fault = faultOf(value, 0)
  if (fault) {
    throw new NotJsonError(`${where}${fault.path} is ${fault.what}, which JSON cannot carry`, {
      hint: 'pass strings, finite numbers, booleans, null, arrays and plain objects (a Date as date.toISOString())',
    })
  }
  const text = JSON.stringify(value)
  if (text.length > MAX_JSON_BYTES / 4 && Buffer.byteLength(text) > MAX_JSON_BYTES) {
    throw new NotJsonError(`${where} is ${Buffer.byteLength(text)} bytes of JSON; the limit is ${MAX_JSON_BYTES}`, {
      hint: 'store the data elsewhere and pass a reference to it',
    })
  }
  return text
}

export const isJsonObject = (value: unknown): value is JsonObject => typeof value === 'object' && value !== null && !Array.isArray(value)
