import { celeryHolds } from '../../canvas/celery-form.js'
import { isJsonObject, type Json, type JsonObject } from '../../task/json.js'
import type { CeleryExtras, MessageOptions, TaskMessage } from '../../task/message.js'

/** Options that Celery's headers or body hold. */
type Told = 'headers' | 'ignoreResult' | 'softTimeLimit' | 'timeLimit' | 'link' | 'linkError' | 'chain' | 'celery'

/** What Celery has no word for: JSON text in the header `taskledger`, which Celery's workers pass over. */
export interface OwnHeader {
  readonly v: 1
  readonly submittedAt: number
  readonly retryOf: string | null
  readonly periodicName: string | null
  /** Its place in a group of this program's. */
  readonly groupIndex?: number
  /** Those of the user's headers that a header of AMQP cannot hold. */
  readonly headers?: JsonObject
  /** What follows the task, where Celery's form would not hold all of it. */
  readonly following?: Pick<MessageOptions, 'link' | 'linkError' | 'chain'>
  readonly options: Omit<MessageOptions, Told> & { readonly celery?: Omit<CeleryExtras, 'chord'> }
}

/** @param headers null: each of the user's headers is one of AMQP's, or there are none at all */
export function ownHeader({ options, submittedAt, retryOf, periodicName, groupIndex }: TaskMessage, headers: JsonObject | null): string {
  const { ignoreResult: _i, softTimeLimit: _s, timeLimit: _t, link, linkError, chain, headers: given, celery, ...others } = options
  const { chord: _, ...extras } = celery ?? {}
  const whole = [link, linkError, chain].every((canvases = []) => canvases.every(celeryHolds))
  const following = { ...(link && { link }), ...(linkError && { linkError }), ...(chain && { chain }) }
  const own: OwnHeader = {
    v: 1,
    submittedAt,
    retryOf,
    periodicName,
    ...(groupIndex === null || celery ? {} : { groupIndex }),
    ...(headers && given ? { headers } : {}),
    ...(whole ? {} : { following }),
    options: { ...others, ...(celery ? { celery: extras } : {}) },
  }
  return JSON.stringify(own)
}

/** Null: the message is another program's. */
export function readOwnHeader(text: Json | undefined): OwnHeader | null {
  if (typeof text !== 'string') return null
  try {
    const own: unknown = JSON.parse(text)
    return isOwnHeader(own) ? own : null
  } catch {
    return null
  }
}

const isOwnHeader = (own: unknown): own is OwnHeader => isJsonObject(own) && own['v'] === 1 && isJsonObject(own['options'])
