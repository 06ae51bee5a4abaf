import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isJsonObject, type Json, type JsonObject } from '../../src/lib/task/json.js'
import { ROOT } from './run.js'

/** A task message as a real Celery 5.2 published it, read back by amqplib. */
export interface Capture {
  /** Which call it comes from. */
  readonly capture: string
  readonly exchange: string
  readonly routingKey: string
  readonly properties: JsonObject
  readonly headers: JsonObject
  /** AMQP's letter for the type of each header, in an array that of each element. */
  readonly headerTypes: JsonObject
  readonly bodyText?: string
  /** In its place for a compressed body. */
  readonly bodyBase64?: string
}

export const CAPTURES: readonly Capture[] = readFileSync(join(ROOT, 'test/fixtures/celery-messages.jsonl'), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as Capture)

export function capture(name: string): Capture {
  const found = CAPTURES.find((one) => one.capture === name)
  if (!found) throw new Error(`there is no capture ${name}`)
  return found
}

export const contentOf = ({ bodyText, bodyBase64 }: Capture): Buffer =>
  bodyBase64 === undefined ? Buffer.from(bodyText ?? '') : Buffer.from(bodyBase64, 'base64')

/** As amqplib hands it over. */
export function arrivedAs(one: Capture) {
  const { exchange, routingKey, properties, headers } = one
  return { fields: { exchange, routingKey }, properties: { ...properties, headers }, content: contentOf(one) }
}

/**
 * Without what says nothing: null, false, and empty lists and objects. A group in a chord repeats the chord's body in its
 * options; it is dropped.
 */
export function essence(json: Json): Json {
  if (Array.isArray(json)) return json.map(essence)
  if (!isJsonObject(json)) return json
  const body = json['subtask_type'] === 'group' && isJsonObject(json['options']) ? { options: { ...json['options'], chord: null } } : {}
  const told = Object.entries({ ...json, ...body }).map(([key, value]) => [key, essence(value)] as const)
  return Object.fromEntries(told.filter(([, value]) => value && (typeof value !== 'object' || Object.keys(value).length > 0)))
}
