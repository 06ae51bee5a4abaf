import { UsageError } from '../task/errors.js'
import { isJsonObject, type Json, type JsonObject } from '../task/json.js'
import type { Canvas, SignatureOptions } from '../task/signature.js'
import { celeryOptions, readOptions, unexpected } from './celery-options.js'
import { chord, group } from './compose.js'
import { immutable, merge, withOptions } from './signature.js'

/** What `celery.chain` and the like hold, by the `subtask_type` that says which of them a signature is. */
const COMPOSITES = { chain: 'celery.chain', group: 'celery.group', chord: 'celery.chord' } as const

/**
 * A workflow as Celery writes it, which has no place for what a chord remembers for its header: in `embed.chain`, `callbacks` and `errbacks` of a message, and as
 * `json.dumps(signature)`.
 */
export function toCelery(canvas: Canvas): JsonObject {
  switch (canvas.kind) {
    case 'task': {
      const { task, args, kwargs, options, immutable } = canvas
      return { task, args, kwargs, options: celeryOptions(options, toCelery), subtask_type: null, immutable }
    }
    case 'chain':
      return composite('chain', { tasks: canvas.steps.map(toCelery) })
    case 'group':
      return composite('group', { tasks: canvas.members.map(toCelery) }, canvas.groupId)
    case 'chord': {
      const header = composite('group', { tasks: canvas.header.map(toCelery) }, canvas.groupId)
      return composite('chord', { kwargs: {}, header, body: toCelery(canvas.body) }, canvas.groupId)
    }
  }
}

/** Whether a message in Celery's form holds all of a workflow: not the errbacks of a chord as a whole, nor an instant to expire at. */
export function celeryHolds(canvas: Canvas): boolean {
  switch (canvas.kind) {
    case 'task': {
      const { link = [], linkError = [], expiresAt } = canvas.options
      return expiresAt === undefined && [...link, ...linkError].every(celeryHolds)
    }
    case 'chain':
      return canvas.steps.every(celeryHolds)
    case 'group':
      return canvas.members.every(celeryHolds)
    case 'chord':
      return canvas.linkError === undefined && [...canvas.header, canvas.body].every(celeryHolds)
  }
}

function composite(kind: keyof typeof COMPOSITES, kwargs: JsonObject, taskId?: string): JsonObject {
  const options = taskId === undefined ? {} : { task_id: taskId }
  return { task: COMPOSITES[kind], args: [], kwargs, options, subtask_type: kind, immutable: false }
}

/**
 * The workflow that Celery wrote so. `args`, `kwargs`, `options`, `subtask_type` and `immutable` may be missing. A task's options
 * that this program does not know stay as they are; those of a chain, a group or a chord go to the tasks they speak of.
 *
 * @param where how the caller knows the value; the error names the path from there
 * @throws {UsageError} for what is not a signature
 */
export function fromCelery(json: unknown, where = 'signature'): Canvas {
  if (!isJsonObject(json) || typeof json['task'] !== 'string' || json['task'] === '') {
    throw unexpected(where, 'a signature, which is an object with the name of a task', json)
  }
  const { task, args, kwargs, options } = json
  const ownArgs = args ?? []
  const ownKwargs = kwargs ?? {}
  if (!Array.isArray(ownArgs)) throw unexpected(`${where}.args`, 'an array', args)
  if (!isJsonObject(ownKwargs)) throw unexpected(`${where}.kwargs`, 'an object', kwargs)
  const { known, unknown } = readOptions(options ?? {}, `${where}.options`, fromCelery)
  const isImmutable = json['immutable'] === true
  const kind = kindOf(json)
  if (!kind) return { kind: 'task', task, args: ownArgs, kwargs: ownKwargs, options: { ...known, ...unknown }, immutable: isImmutable }
  const { celery: _, ...ofTasks } = known // what a client waits for, each task says itself
  const whole = merge(readComposite(kind, ownKwargs, ofTasks, `${where}.kwargs`), { args: ownArgs })
  return isImmutable ? immutable(whole) : whole
}

const KINDS = Object.keys(COMPOSITES) as (keyof typeof COMPOSITES)[]

/** The subtask type says it; where it is missing, the task's name does. Undefined: a task. */
function kindOf({ task, subtask_type: type }: JsonObject): keyof typeof COMPOSITES | undefined {
  return KINDS.find((kind) => ((type ?? null) === null ? COMPOSITES[kind] === task : kind === type))
}

function readComposite(kind: keyof typeof COMPOSITES, kwargs: JsonObject, options: SignatureOptions, path: string): Canvas {
  if (kind === 'chord') return readChord(kwargs, options, path)
  const tasks = readList(kwargs['tasks'], `${path}.tasks`)
  return withOptions(kind === 'chain' ? { kind, steps: tasks } : { kind, members: tasks }, options)
}

/** The `task_id` of a frozen chord is that of its header, whose group has it too. */
function readChord({ header, body }: JsonObject, { taskId, ...options }: SignatureOptions, path: string): Canvas {
  const members = Array.isArray(header) ? group(readList(header, `${path}.header`)) : fromCelery(header, `${path}.header`)
  const whole = chord(members, fromCelery(body, `${path}.body`))
  return withOptions(taskId === undefined || whole.groupId !== undefined ? whole : { ...whole, groupId: taskId }, options)
}

function readList(list: Json | undefined, path: string): readonly Canvas[] {
  if (!Array.isArray(list)) throw unexpected(path, 'an array of signatures', list)
  return list.map((one, i) => fromCelery(one, `${path}[${i}]`))
}

/** The body of the chord of Celery's that a task counts in. Null: there is none, or none that could be sent. */
export function celeryBodyOf({ celery }: Pick<SignatureOptions, 'celery'>): Canvas | null {
  try {
    return celery?.chord ? fromCelery(celery.chord) : null
  } catch (error) {
    if (error instanceof UsageError) return null
    throw error
  }
}
