import { hostname } from 'node:os'
import type { Delivery } from '../broker/broker.js'
import { callArguments, runningTask, type TaskContext, type TaskDefinition, type TaskRequest, type TaskUpdate } from '../task/definition.js'
import { Retry, SoftTimeLimitExceeded } from '../task/ending.js'
import { encodeJson, type Json } from '../task/json.js'
import { errorRecord, type Outcome } from '../task/outcome.js'
import { isResultHandle } from '../task/result-tuple.js'
import { MaxRetriesExceededError, outcomeOfError, type RetryOptions, retryEta } from '../task/retry-policy.js'
import { type CanvasOf, Part } from './part.js'

/** What an execution needs besides the task and its delivery. */
export interface Surroundings {
  readonly forceJson: boolean
  readonly now: () => number
  readonly random: () => number
  /** Writes what `task.update` says to the row. */
  readonly update: (update: TaskUpdate) => Promise<void>
  /** Its signal is aborted from outside to stop the body, and its reason is what the body is to end with. It may be made only when asked for. */
  readonly stop: Pick<AbortController, 'signal'>
  /** Default: what the signature says itself. */
  readonly canvasOf?: CanvasOf
}

function requestOf({ message, deliveries }: Delivery): TaskRequest {
  return {
    id: message.id,
    task: message.task,
    args: message.args,
    kwargs: message.kwargs,
    retries: message.retries,
    deliveries: deliveries ?? 1,
    queue: message.queue,
    headers: message.options.headers ?? {},
    eta: message.eta === null ? null : new Date(message.eta),
    expires: message.expires === null ? null : new Date(message.expires),
    parentId: message.parentId,
    rootId: message.rootId,
    retryOf: message.retryOf,
    hostname: hostname(),
  }
}

/** One execution's context. It remembers what it threw for want of a retry, so that `autoretryFor` does not catch that. */
class Execution implements TaskContext {
  spent: unknown = null

  constructor(
    readonly request: TaskRequest,
    private readonly stopping: Surroundings['stop'],
    private readonly part: Part,
    private readonly definition: TaskDefinition,
    private readonly surroundings: Surroundings,
  ) {}

  get signal(): AbortSignal {
    return this.stopping.signal
  }

  // made when looked at, so that a body may take them apart: ({ request, retry }) => …
  get update(): TaskContext['update'] {
    return (update) => this.surroundings.update(update)
  }

  get replace(): TaskContext['replace'] {
    return (signature) => this.part.replace(signature)
  }

  get addToChord(): TaskContext['addToChord'] {
    return (signature) => this.part.add(signature)
  }

  get retry(): TaskContext['retry'] {
    return (options) => this.again(options)
  }

  private again({ error, countdown, eta, maxRetries, ...changes }: RetryOptions = {}): never {
    const timing = { ...(countdown !== undefined && { countdown }), ...(eta && { eta }), ...(maxRetries !== undefined && { maxRetries }) }
    const due = retryEta(this.definition.options, this.request.retries, timing, this.surroundings.now())
    if (changes.args) encodeJson(changes.args, 'args')
    if (changes.kwargs) encodeJson(changes.kwargs, 'kwargs')
    if (due !== null) throw new Retry(due, error, changes)
    const { task, id, args, kwargs } = this.request
    this.spent =
      error ?? new MaxRetriesExceededError(`Can't retry ${task}[${id}] args:${JSON.stringify(args)} kwargs:${JSON.stringify(kwargs)}`)
    throw this.spent
  }

  outcomeOf(thrown: unknown): Outcome {
    if (this.spent !== null && thrown === this.spent) return { kind: 'failed', error: errorRecord(thrown), expected: false }
    const { now, random, stop } = this.surroundings
    const { signal } = stop
    const cause = causeOf(thrown, this.signal)
    if (signal.aborted && cause === signal.reason) return { kind: 'revoked', reason: (cause as Error).message }
    const outcome = outcomeOfError(cause, this.definition.options, this.request.retries, now(), random())
    return outcome.kind === 'replaced' ? { ...outcome, ...this.part.left } : outcome
  }
}

/** A handle is kept as its tuple, as in Celery; the forced form keeps a result that is not JSON as text (django-celery-fulldbresult's FORCE_JSON). */
function encodeResult(returned: unknown, forceJson: boolean): { result: Json; text: string | null } {
  const value = isResultHandle(returned) ? returned.asTuple() : returned
  if (value === undefined || value === null) return { result: null, text: null }
  try {
    return { result: value as Json, text: encodeJson(value, 'result') }
  } catch (error) {
    if (!forceJson) throw error
    const forced = { value: String(value), forced_json: true }
    return { result: forced, text: encodeJson(forced, 'result') }
  }
}

/** Seconds; the publish call's limit wins over the task's. */
function softLimitOf({ options }: TaskDefinition, { message }: Delivery): number | null {
  return message.options.softTimeLimit ?? options.softTimeLimit
}

export function hardLimitOf({ options }: TaskDefinition, { message }: Delivery): number | null {
  return message.options.timeLimit ?? options.timeLimit
}

/** What the body ended with, when it ended because its signal was aborted: the reason, whatever the aborted call threw. */
function causeOf(thrown: unknown, signal: AbortSignal): unknown {
  const aborted = signal.aborted && thrown instanceof Error && thrown.name === 'AbortError'
  return aborted ? signal.reason : thrown
}

/** Runs the body and says how it ended. Never throws: whatever the body does is an outcome. */
export async function runTask(definition: TaskDefinition, delivery: Delivery, surroundings: Surroundings): Promise<Outcome> {
  const soft = softLimitOf(definition, delivery)
  const limit = soft === null ? null : new AbortController()
  const timer = soft === null ? null : setTimeout(() => limit?.abort(new SoftTimeLimitExceeded(soft)), soft * 1000)
  // making signals takes longer than a short task
  const stopping = limit ? { signal: AbortSignal.any([limit.signal, surroundings.stop.signal]) } : surroundings.stop
  const request = requestOf(delivery)
  const part = new Part(delivery.message, surroundings.canvasOf ?? (({ canvas }) => canvas))
  const execution = new Execution(request, stopping, part, definition, surroundings)
  let value: unknown
  try {
    const args = callArguments(definition, request.args, request.kwargs)
    const run = definition.run as (...args: unknown[]) => unknown
    value = await runningTask.run(request, () => (definition.bind ? run(execution, ...args) : run(...args)))
  } catch (thrown) {
    return execution.outcomeOf(thrown)
  } finally {
    if (timer) clearTimeout(timer)
  }
  try {
    return { kind: 'succeeded', ...encodeResult(value, surroundings.forceJson), ...part.left }
  } catch (error) {
    return { kind: 'failed', error: errorRecord(error), expected: false }
  }
}
