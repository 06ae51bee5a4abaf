import type { Delivery } from '../broker/broker.js'
import { callArguments, runningTask, type TaskContext, type TaskDefinition, type TaskRequest } from '../task/definition.js'
import { encodeJson, type Json } from '../task/json.js'
import { errorRecord, type Outcome } from '../task/outcome.js'
import { MaxRetriesExceededError, outcomeOfError, Retry, type RetryOptions, retryEta } from '../task/retry-policy.js'

function requestOf({ message, deliveries }: Delivery): TaskRequest {
  return {
    id: message.id,
    task: message.task,
    args: message.args,
    kwargs: message.kwargs,
    retries: message.retries,
    deliveries,
    queue: message.queue,
    headers: message.options.headers ?? {},
    eta: message.eta === null ? null : new Date(message.eta),
    expires: message.expires === null ? null : new Date(message.expires),
    parentId: message.parentId,
    rootId: message.rootId,
    retryOf: message.retryOf,
  }
}

/** One execution's context. It remembers what it threw for want of a retry, so that `autoretryFor` does not catch that. */
class Execution implements TaskContext {
  spent: unknown = null

  constructor(
    readonly request: TaskRequest,
    private readonly definition: TaskDefinition,
    private readonly now: () => number,
  ) {}

  /** Bound to this execution, so that a body may take it out of its context: `({ retry }) => retry()`. */
  readonly retry = (options: RetryOptions = {}): never => {
    const eta = retryEta(this.definition.policy, this.request.retries, options, this.now())
    if (eta !== null) throw new Retry(eta, options.error)
    const { task, id, args, kwargs } = this.request
    this.spent =
      options.error ??
      new MaxRetriesExceededError(`Can't retry ${task}[${id}] args:${JSON.stringify(args)} kwargs:${JSON.stringify(kwargs)}`)
    throw this.spent
  }
}

/** The forced form keeps a result that is not JSON as text (django-celery-fulldbresult's FORCE_JSON). */
function encodeResult(value: unknown, forceJson: boolean): { result: Json; text: string | null } {
  if (value === undefined || value === null) return { result: null, text: null }
  try {
    return { result: value as Json, text: encodeJson(value, 'result') }
  } catch (error) {
    if (!forceJson) throw error
    const forced = { value: String(value), forced_json: true }
    return { result: forced, text: encodeJson(forced, 'result') }
  }
}

/** Runs the body and says how it ended. Never throws: whatever the body does is an outcome. */
export async function runTask(
  definition: TaskDefinition,
  delivery: Delivery,
  forceJson: boolean,
  now: () => number,
  random: () => number,
): Promise<Outcome> {
  const request = requestOf(delivery)
  const execution = new Execution(request, definition, now)
  let value: unknown
  try {
    const args = callArguments(definition, request.args, request.kwargs)
    const run = definition.run as (...args: unknown[]) => unknown
    value = await runningTask.run(request, () => (definition.bind ? run(execution, ...args) : run(...args)))
  } catch (thrown) {
    if (execution.spent !== null && thrown === execution.spent) return { kind: 'failed', error: errorRecord(thrown), expected: false }
    return outcomeOfError(thrown, definition.policy, request.retries, now(), random())
  }
  try {
    return { kind: 'succeeded', ...encodeResult(value, forceJson) }
  } catch (error) {
    return { kind: 'failed', error: errorRecord(error), expected: false }
  }
}
