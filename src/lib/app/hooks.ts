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
      error: this.error,
    }
    if (!Object.hasOwn(lists, hook)) throw new UsageError(`there is no hook named ${hook}; the hooks are ${Object.keys(lists).join(', ')}`)
    lists[hook].push(fn)
  }

  /** Tells the hooks of an event. One that throws harms neither the worker nor the hooks after it. */
  readonly emit = (event: WorkerEvent): void => {
    for (const hook of this[event.kind] as ((event: WorkerEvent) => void)[]) {
      try {
        hook(event)
      } catch (error) {
        this.report(error)
      }
    }
  }

  /** Tells the `error` hooks; without one it becomes a warning of the process. */
  readonly report = (error: unknown): void => {
    if (this.error.length === 0) process.emitWarning(error instanceof Error ? error : new Error(String(error)))
    for (const hook of this.error) hook(error)
  }
}
