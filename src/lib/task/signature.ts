import type { CeleryExtras } from './celery-extras.js'
import type { Json, JsonObject } from './json.js'

/** What a call says besides its arguments. Names and units are Celery's; durations are seconds, instants epoch milliseconds. */
export interface SignatureOptions {
  /** The id the task will have. Frozen signatures have one; nothing changes it afterwards. */
  readonly taskId?: string
  readonly queue?: string
  readonly exchange?: string
  readonly routingKey?: string
  readonly priority?: number
  readonly headers?: JsonObject
  /** Seconds from the moment the message is made. */
  readonly expires?: number
  readonly expiresAt?: number
  /** Seconds from the moment the message is made. */
  readonly countdown?: number
  readonly eta?: number
  readonly ignoreResult?: boolean
  /** Seconds; null: for ever. */
  readonly resultExpires?: number | null
  readonly softTimeLimit?: number
  readonly timeLimit?: number
  readonly acksLate?: boolean
  /** As an errback the task takes `(request, error, traceback)` before its own arguments, and not the failed task's id. */
  readonly errback?: boolean
  /** Sent with the result once the task has succeeded. */
  readonly link?: readonly Canvas[]
  /** Sent once the task has failed, expired or been revoked. */
  readonly linkError?: readonly Canvas[]
  /** The group the task's end counts in, and its place there. */
  readonly groupId?: string
  readonly groupIndex?: number
  /** What a signature from Celery asked for besides. */
  readonly celery?: CeleryExtras
}

/** One call of a task, as data. */
export interface TaskSignature {
  readonly kind: 'task'
  readonly task: string
  readonly args: readonly Json[]
  readonly kwargs: JsonObject
  readonly options: SignatureOptions
  /** What comes from elsewhere (a result, partial arguments) is not added to its arguments. */
  readonly immutable: boolean
}

/** One after the other, each with the result of the one before. */
export interface Chain {
  readonly kind: 'chain'
  readonly steps: readonly Canvas[]
}

/** Side by side. Its result is the list of theirs. */
export interface Group {
  readonly kind: 'group'
  readonly members: readonly Canvas[]
  /** Given when it is frozen. */
  readonly groupId?: string
}

/** A group, and what is sent with the list of its results once all have succeeded. */
export interface Chord {
  readonly kind: 'chord'
  readonly header: readonly Canvas[]
  readonly body: Canvas
  /** The id of the header. Given when it is frozen. */
  readonly groupId?: string
  /** Errbacks given to the chord as a whole. Its body has them; whether its header gets them, too, the app that sends it says. */
  readonly linkError?: readonly Canvas[]
}

/** Whatever holds a workflow: the signatures that callers compose do. */
export interface Composed {
  readonly canvas: Canvas
}

/** A workflow as data: it goes through JSON and comes back equal. */
export type Canvas = TaskSignature | Chain | Group | Chord
