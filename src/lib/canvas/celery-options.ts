import type { CeleryExtras } from '../task/celery-extras.js'
import { UsageError } from '../task/errors.js'
import { isJsonObject, type Json, type JsonObject } from '../task/json.js'
import type { Canvas, SignatureOptions } from '../task/signature.js'
import { celeryTime, readCeleryTime } from './celery-time.js'

type Known = keyof SignatureOptions

const isText = (value: Json): boolean => typeof value === 'string'
const isNumber = (value: Json): boolean => typeof value === 'number'
const isBoolean = (value: Json): boolean => typeof value === 'boolean'

/** Celery's name of each option that is carried as it is, what it holds, and how that is called. */
const PLAIN: readonly (readonly [Known, string, (value: Json) => boolean, string])[] = [
  ['taskId', 'task_id', isText, 'a text'],
  ['queue', 'queue', isText, 'a text'],
  ['exchange', 'exchange', isText, 'a text'],
  ['routingKey', 'routing_key', isText, 'a text'],
  ['priority', 'priority', isNumber, 'a number'],
  ['headers', 'headers', isJsonObject, 'an object'],
  ['countdown', 'countdown', isNumber, 'seconds'],
  ['ignoreResult', 'ignore_result', isBoolean, 'true or false'],
  ['resultExpires', 'result_expires', (value) => value === null || isNumber(value), 'seconds or null'],
  ['softTimeLimit', 'soft_time_limit', isNumber, 'seconds'],
  ['timeLimit', 'time_limit', isNumber, 'seconds'],
  ['acksLate', 'acks_late', isBoolean, 'true or false'],
  ['errback', 'errback', isBoolean, 'true or false'],
  ['groupId', 'group_id', isText, 'a text'],
  ['groupIndex', 'group_index', isNumber, 'a number'],
]

/** @throws {UsageError} for what is no time; it names the path */
export function instantOf(value: Json, path: string): number {
  const instant = typeof value === 'string' ? readCeleryTime(value) : null
  if (instant === null) throw unexpected(path, 'a time in ISO 8601', value)
  return instant
}

/** Options under Celery's names. What a signature from Celery carried that this program does not know is among them. */
export function celeryOptions(options: SignatureOptions, toCelery: (canvas: Canvas) => JsonObject): JsonObject {
  const { celery } = options
  const others = Object.entries(options).filter(([name]) => name !== 'celery')
  const named = others.map(([name, value]): readonly [string, Json] => {
    if (name === 'link' || name === 'linkError') return [name === 'link' ? name : 'link_error', value.map(toCelery)]
    if (name === 'expiresAt' || name === 'eta') return [name === 'eta' ? name : 'expires', celeryTime(value)]
    return [PLAIN.find(([known]) => known === name)?.[1] ?? name, value]
  })
  return { ...Object.fromEntries(named), ...(celery ? writtenExtras(celery) : {}) }
}

/** A signature's options in the program's names, and those that it has no name for. */
export interface ReadOptions {
  readonly known: SignatureOptions
  readonly unknown: JsonObject
}

/**
 * @param fromCelery reads one callback
 * @throws {UsageError} for an option of the wrong type; it names the path
 */
export function readOptions(json: Json, path: string, fromCelery: (json: Json, path: string) => Canvas): ReadOptions {
  if (!isJsonObject(json)) throw unexpected(path, 'an object', json)
  const known = new Map<string, unknown>()
  const unknown = new Map<string, Json>()
  const celery = readExtras(json)
  const written = writtenExtras(celery)
  if (Object.keys(celery).length > 0) known.set('celery', celery)
  for (const [name, value] of Object.entries(json)) {
    if (Object.hasOwn(written, name)) continue
    if (value === null && name !== 'result_expires') continue // Celery's way to say nothing
    const read = readOption(name, value, `${path}.${name}`, fromCelery)
    if (read) known.set(read[0], read[1])
    else unknown.set(name, value)
  }
  return { known: Object.fromEntries(known), unknown: Object.fromEntries(unknown) }
}

/** A signature's option for the id of the task that it stands for: Celery has its like under one id. */
const STANDS_FOR = 'taskledger_id'

const writtenExtras = ({ reply_to, chord, id }: CeleryExtras): JsonObject => ({
  ...(reply_to === undefined ? {} : { reply_to }),
  ...(chord === undefined ? {} : { chord }),
  ...(id === undefined ? {} : { [STANDS_FOR]: id }),
})

/**
 * What a client waits for. The members of a chord that is not sent yet name its body too: whoever sends them counts them; only a
 * task that has its place in a group already counts in Celery's chord.
 */
function readExtras({ reply_to, chord, group_id: groupId, [STANDS_FOR]: id }: JsonObject): CeleryExtras {
  return {
    ...(typeof reply_to === 'string' ? { reply_to } : {}),
    ...(isJsonObject(chord) && typeof groupId === 'string' ? { chord } : {}),
    ...(typeof id === 'string' ? { id } : {}),
  }
}

type Read = readonly [name: Known, value: unknown]

function readOption(name: string, value: Json, path: string, fromCelery: (json: Json, path: string) => Canvas): Read | null {
  if (name === 'expires') return typeof value === 'number' ? ['expires', value] : ['expiresAt', instantOf(value, path)]
  if (name === 'eta') return ['eta', instantOf(value, path)]
  if (name === 'link' || name === 'link_error') return [name === 'link' ? name : 'linkError', readLinks(value, path, fromCelery)]
  const plain = PLAIN.find(([, celerys]) => celerys === name)
  if (!plain) return null
  const [known, , holds, expected] = plain
  if (!holds(value)) throw unexpected(path, expected, value)
  return [known, value]
}

/** Celery takes one callback for a list of one. */
function readLinks(value: Json, path: string, fromCelery: (json: Json, path: string) => Canvas): readonly Canvas[] {
  if (!Array.isArray(value)) return [fromCelery(value, path)]
  return value.map((one, i) => fromCelery(one, `${path}[${i}]`))
}

export function unexpected(path: string, expected: string, got: unknown): UsageError {
  return new UsageError(`${path}: expected ${expected}, got: ${got === undefined ? 'nothing' : JSON.stringify(got).slice(0, 80)}`)
}
