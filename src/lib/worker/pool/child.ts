import type { Delivery } from '../../broker/broker.js'
import type { TaskUpdate } from '../../task/definition.js'
import { encodeJson } from '../../task/json.js'
import { errorRecord, type Outcome } from '../../task/outcome.js'
import { type FromChild, sent, type ToChild } from './protocol.js'

/** What a child needs of the app it imports: the app is the user's own object, of the user's own copy of this package. */
interface ChildApp {
  override(sources: object): void
  execute(delivery: Delivery, update: (update: TaskUpdate) => Promise<void>, stop: Pick<AbortController, 'signal'>): Promise<Outcome>
}

const isApp = (value: unknown): value is ChildApp =>
  typeof value === 'object' && value !== null && 'execute' in value && 'override' in value

const send = (message: FromChild): void => {
  process.send?.(message)
}

/** One child's side: imports the app, then runs what it is given, one task at a time. */
class Child {
  private app: ChildApp | null = null
  private weigh = false
  private stop = new AbortController()
  private updates = 0
  /** The updates that the worker has not answered yet, by their numbers. */
  private readonly unanswered = new Map<number, (error: Error | null) => void>()

  async hear(message: ToChild): Promise<void> {
    switch (message.kind) {
      case 'load':
        this.weigh = message.weigh
        return this.load(message.module, message.sources)
      case 'run':
        return this.run(message.delivery)
      case 'stop':
        return this.stop.abort(named(message))
      case 'updated':
        return this.unanswered.get(message.update)?.(message.error && named(message.error))
    }
  }

  private async load(module: string, sources: object): Promise<void> {
    try {
      const exported = (await import(module)) as Record<string, unknown>
      const app = [exported['app'], exported['default']].find(isApp)
      if (!app) throw new Error('it exports no app')
      app.override(sources)
      this.app = app
      send({ kind: 'ready' })
    } catch (error) {
      send({ kind: 'failed-to-load', message: error instanceof Error ? `${error.name}: ${error.message}` : String(error) })
    }
  }

  private async run(delivery: Delivery): Promise<void> {
    if (!this.app) return
    this.stop = new AbortController()
    const failed = (error: unknown): Outcome => ({ kind: 'failed', error: errorRecord(error), expected: false })
    const outcome = await this.app.execute(delivery, (update) => this.update(update), this.stop).catch(failed)
    send({ kind: 'outcome', outcome: sent(outcome), rssKiB: this.weigh ? Math.round(process.memoryUsage.rss() / 1024) : null })
  }

  private async update(update: TaskUpdate): Promise<void> {
    if (update.meta !== undefined) encodeJson(update.meta, 'meta') // the channel would make something else of it
    const n = this.updates++
    const answer = new Promise<Error | null>((resolve) => {
      this.unanswered.set(n, resolve)
    })
    send({ kind: 'update', n, update })
    const error = await answer
    this.unanswered.delete(n)
    if (error) throw error
  }
}

const named = ({ name, message }: { readonly name: string; readonly message: string }): Error => Object.assign(new Error(message), { name })

const child = new Child()
process.on('message', (message: ToChild) => void child.hear(message))
process.on('disconnect', () => process.exit(1)) // the worker is gone: nobody would hear how this task ends
// Ctrl-C reaches every process of a terminal; when this one ends is the worker's affair
for (const signal of ['SIGINT', 'SIGTERM', 'SIGQUIT'] as const) process.on(signal, () => {})
