import { checkOptions, type PublishOptions } from '../publish/request.js'
import { UsageError } from '../task/errors.js'
import { encodeJson, isJsonObject, type Json, type JsonObject } from '../task/json.js'
import type { SignatureOptions as SignatureData } from '../task/signature.js'
import type { SignatureOptions } from './signature.js'

/** @throws {UsageError} for an option of a publish that is unknown or of the wrong type */
export function checkApplyOptions(options: PublishOptions): SignatureData {
  checkOptions(options)
  return dataOf(options)
}

/** @throws {UsageError} for an option of a signature that is unknown or of the wrong type */
export function checkSignatureOptions({ immutable = false, ...options }: SignatureOptions): SignatureData {
  if (typeof immutable !== 'boolean') throw new UsageError(`immutable: expected true or false, got: ${immutable}`)
  if ('kwargs' in options) throw new UsageError('kwargs are no option of a signature; give them to clone(args, kwargs)')
  checkOptions(options, ['immutable'])
  return dataOf(options)
}

/** Dates become instants, and what was left undefined goes. */
function dataOf({ kwargs: _, expires, eta, headers, ...options }: PublishOptions): SignatureData {
  if (headers) encodeJson(headers, 'headers')
  const given: SignatureData = {
    ...options,
    ...(headers ? { headers } : {}),
    ...(typeof expires === 'number' ? { expires } : expires ? { expiresAt: expires.getTime() } : {}),
    ...(eta ? { eta: eta.getTime() } : {}),
  }
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
}

/** @throws {UsageError} for another scope than these */
export function checkScope(scope: unknown): void {
  if (scope !== 'first' && scope !== 'every') throw new UsageError(`scope: expected first or every, got: ${String(scope)}`)
}

/**
 * Epoch milliseconds of an instant, or of so many seconds from now.
 *
 * @throws {UsageError} for what is neither
 */
export function instantOf(name: string, given: number | Date, now: number): number {
  const at = typeof given === 'number' ? now + Math.round(given * 1000) : given instanceof Date ? given.getTime() : Number.NaN
  if (Number.isNaN(at) || (typeof given === 'number' && given < 0)) {
    throw new UsageError(`${name}: expected seconds or a Date, got: ${String(given)}`)
  }
  return at
}

/**
 * @param where how the caller knows the list; an error names the path from there, for example `args[0].when`
 * @throws {NotJsonError} for an argument JSON cannot carry
 */
export function checkArguments(args: unknown, where = 'args'): readonly Json[] {
  if (!Array.isArray(args))
    throw new UsageError(`${where}: expected an array, got: ${typeof args === 'function' ? 'a function' : JSON.stringify(args)}`)
  encodeJson(args, where)
  return args
}

/** @throws {NotJsonError} as for args */
export function checkKwargs(kwargs: unknown): JsonObject {
  if (!isJsonObject(kwargs)) throw new UsageError(`kwargs: expected an object, got: ${JSON.stringify(kwargs)}`)
  encodeJson(kwargs, 'kwargs')
  return kwargs
}
