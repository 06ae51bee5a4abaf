import { celeryBodyOf } from '../canvas/celery-form.js'
import type { TaskEnd } from '../canvas/settle.js'
import type { Json, JsonObject } from '../task/json.js'
import type { TaskMessage } from '../task/message.js'
import type { ErrorRecord } from '../task/outcome.js'
import type { Canvas } from '../task/signature.js'
import { celeryException } from './exceptions.js'

/** What Celery's clients are told of a task: that it has ended, or waits for a retry. It goes through JSON and comes back equal. */
export interface CeleryEnd {
  /** The id under which clients wait. */
  readonly taskId: string
  readonly task: string
  readonly status: 'SUCCESS' | 'FAILURE' | 'REVOKED' | 'RETRY'
  /** The value, or what was thrown in Celery's form. */
  readonly result: Json
  readonly traceback: string | null
  /** Ids of the tasks that it sent. */
  readonly children: readonly string[]
  /** Epoch milliseconds. */
  readonly at: number
  readonly rootId: string
  readonly parentId: string | null
  readonly groupId: string | null
  readonly groupIndex: number | null
  /** False: its result is ignored, and the end only counts in a chord. */
  readonly kept: boolean
  readonly replyTo: string | null
  /** The body of the chord of Celery's in which the end counts. */
  readonly chord: Canvas | null
  /** Of its workflow; what follows the end inherits it. */
  readonly deadline: number | null
}

/** A task that waits for its retry, with what it failed by. */
export interface Retrying {
  readonly status: 'RETRY'
  readonly error: ErrorRecord | null
}

/** What is known of an end besides the end itself. */
export interface Around {
  readonly children: readonly string[]
  readonly at: number
  /** Whether a failure is kept although the result is ignored. */
  readonly keepsErrors: boolean
}

/**
 * What a client is to be told. Null: nothing, as of a task whose result is ignored. A task that ignores its own end counts in a
 * chord with the result null, so that the others' results are not waited for in vain.
 */
export function celeryEnd(message: TaskMessage, end: TaskEnd | Retrying, { children, at, keepsErrors }: Around): CeleryEnd | null {
  const { celery, ignoreResult, deadline } = message.options
  const chord = end.status === 'RETRY' || message.groupId === null ? null : celeryBodyOf(message.options)
  const kept = end.status !== 'IGNORED' && (!ignoreResult || (end.status === 'FAILURE' && keepsErrors))
  if (!kept && !chord) return null
  const error = 'error' in end ? end.error : null
  return {
    taskId: celery?.id ?? message.id,
    task: message.task,
    status: end.status === 'IGNORED' ? 'SUCCESS' : end.status,
    result: end.status === 'SUCCESS' ? end.value : error && celeryException(error),
    traceback: error?.traceback ?? null,
    children,
    at,
    rootId: message.rootId,
    parentId: message.parentId,
    groupId: message.groupId,
    groupIndex: message.groupIndex,
    kept,
    replyTo: celery?.reply_to ?? null,
    chord,
    deadline: deadline ?? null,
  }
}

/** An id as Celery writes the handle on a task that has no parent and is no group. */
export const tupleOf = (taskId: string): Json => [[taskId, null], null]

/** An instant as Python writes one in UTC: six digits after the second, and no offset. */
export const dateDone = (at: number): string => `${new Date(at).toISOString().slice(0, -1)}000`

/** The record that Celery's key-value backends store. */
export function metaOf(end: CeleryEnd): JsonObject {
  const { status, result, traceback, groupId, parentId } = end
  return {
    status,
    result,
    traceback,
    children: end.children.map(tupleOf),
    date_done: status === 'RETRY' ? null : dateDone(end.at),
    ...(groupId === null ? {} : { group_id: groupId }),
    ...(parentId === null ? {} : { parent_id: parentId }),
    task_id: end.taskId,
  }
}

/** Statuses after which a client waits no more. */
export const isReady = (status: string): boolean => ['SUCCESS', 'FAILURE', 'REVOKED'].includes(status)
