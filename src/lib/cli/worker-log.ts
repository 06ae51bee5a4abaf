import type { App } from '../app/app.js'
import type { WorkerEvent } from '../worker/events.js'
import { printable, printableLines } from './printable.js'

const LEVELS = ['error', 'warning', 'info'] as const
export type Level = (typeof LEVELS)[number]
export const LOG_LEVELS: readonly Level[] = LEVELS

type Line = readonly [level: Level, text: string]

/** What a worker's log says of an event. A failure that its task expects is business as usual: no stack. */
export function lineOf(event: WorkerEvent): Line {
  const name = `${event.task}[${event.id}]`
  switch (event.kind) {
    case 'started':
      return ['info', `${name} started`]
    case 'succeeded':
      return ['info', `${name} succeeded in ${(event.runMs / 1000).toFixed(3)} s`]
    case 'retried':
      return [
        'info',
        `${name} is to be retried at ${event.eta.toISOString()}: ${event.error ? `${event.error.type}: ${event.error.message}` : 'it asked to be'}`,
      ]
    case 'revoked':
      return ['warning', `${name} revoked: ${event.reason}`]
    case 'failed': {
      const what = `${event.error.type}: ${event.error.message}`
      if (event.expected) return ['info', `${name} raised expected ${what}`]
      return ['error', `${name} failed: ${event.error.traceback ?? what}`]
    }
  }
}

/** Writes a line for each event of the app's workers, and for each error nobody waits for, at `level` or graver. */
export function logEvents(app: App, level: Level, write: (line: string) => void, now: () => Date = () => new Date()): void {
  const log = ([gravity, text]: Line) => {
    if (LEVELS.indexOf(gravity) <= LEVELS.indexOf(level)) write(`${now().toISOString()} ${gravity} ${printableLines(text)}`)
  }
  for (const kind of ['started', 'succeeded', 'retried', 'revoked', 'failed'] as const)
    app.on(kind, (event: WorkerEvent) => log(lineOf(event)))
  app.on('error', (error) => log(['error', error instanceof Error ? (error.stack ?? error.message) : printable(String(error))]))
}
