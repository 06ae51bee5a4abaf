import type { AfterPublish, BeforePublish, PublishHooks } from '../publish/publisher.js'
import { UsageError } from '../task/errors.js'
import type { WorkerEvent } from '../worker/events.js'

type EventOf<K extends WorkerEvent['kind']> = Extract<WorkerEvent, { kind: K }>

/** The hooks of an app: functions in a list, called in the order they were added. */
export interface HookTypes {
  readonly beforePublish: BeforePublish
  readonly afterPublish: AfterPublish
  readonly started: (event: EventOf<'started'>) => void
  readonly succeeded: (event: EventOf<'succeeded'>) => void
  readonly failed: (event: EventOf<'failed'>) => void
  readonly retried: (event: EventOf<'retried'>) => void
  readonly revoked: (event: EventOf<'revoked'>) => void
  readonly ignored: (event: EventOf<'ignored'>) => void
  readonly requeued: (event: EventOf<'requeued'>) => void
  readonly lost: (event: EventOf<'lost'>) => void
  /** An error that nobody waits for: a broker that was away, a lease that could not be renewed. */
  readonly error: (error: unknown) => void
}

export class Hooks implements PublishHooks {
  readonly beforePublish: BeforePublish[] = []
  readonly afterPublish: AfterPublish[] = []
  private readonly started: HookTypes['started'][] = []
  private readonly succeeded: HookTypes['succeeded'][] = []
  private readonly failed: HookTypes['failed'][] = []
  private readonly retried: HookTypes['retried'][] = []
  private readonly revoked: HookTypes['revoked'][] = []
  private readonly ignored: HookTypes['ignored'][] = []
  private readonly requeued: HookTypes['requeued'][] = []
  private readonly lost: HookTypes['lost'][] = []
  private readonly error: HookTypes['error'][] = []

  /** @throws {UsageError} for a hook that does not exist */
  add<K extends keyof HookTypes>(hook: K, fn: HookTypes[K]): void {
    const lists: { readonly [K in keyof HookTypes]: HookTypes[K][] } = {
      beforePublish: this.beforePublish,
      afterPublish: this.afterPublish,
      started: this.started,
      succeeded: this.succeeded,
      failed: this.failed,
      retried: this.retried,
      revoked: this.revoked,
      ignored: this.ignored,
      requeued: this.requeued,
      lost: this.lost,
      error: this.error,
    }
    if (!Object.hasOwn(lists, hook)) throw new UsageError(`there is no hook named ${hook}; the hooks are ${Object.keys(lists).join(', ')}`)
    lists[hook].push(fn)
  }

  /** Tells the hooks of an event, and waits for none. One that throws or rejects harms neither the worker nor the hooks after it. */
  readonly emit = (event: WorkerEvent): void => {
    for (const hook of this[event.kind] as ((event: WorkerEvent) => void)[]) tell(hook, event, this.report)
  }

  /** Tells the `error` hooks; without one, or when one fails itself, it becomes a warning of the process. */
  readonly report = (error: unknown): void => {
    if (this.error.length === 0) warn(error)
    for (const hook of this.error) tell(hook, error, warn)
  }
}

/** Calls the hook at once, and has `failed` hear of what it throws, then or later. */
function tell<T>(hook: (about: T) => unknown, about: T, failed: (error: unknown) => void): void {
  try {
    const told = hook(about)
    if (typeof told === 'object' && told !== null && 'then' in told) Promise.resolve(told).catch(failed)
  } catch (error) {
    failed(error)
  }
}

const warn = (error: unknown): void => process.emitWarning(error instanceof Error ? error : new Error(String(error)))
