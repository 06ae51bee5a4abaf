import { hostname } from 'node:os'
import type { App } from '../app/app.js'
import { EVENT_KINDS, type WorkerEvent } from '../worker/events.js'
import { printable, printableLines } from './printable.js'

const LEVELS = ['error', 'warning', 'info'] as const
export type Level = (typeof LEVELS)[number]
export const LOG_LEVELS: readonly Level[] = LEVELS

export const LOG_FORMATS = ['text', 'json'] as const
export type LogFormat = (typeof LOG_FORMATS)[number]

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
    case 'ignored':
      return ['info', `${name} ended ignored`]
    case 'requeued':
      return ['warning', `${name} runs again: ${event.error.type}: ${event.error.message}`]
    case 'lost':
      return ['error', `${name} was lost, and ${event.retried ? 'is retried' : 'failed'}: ${event.error.message}`]
    case 'failed': {
      const what = `${event.error.type}: ${event.error.message}`
      if (event.expected) return ['info', `${name} raised expected ${what}`]
      return ['error', `${name} failed: ${event.error.traceback ?? what}`]
    }
  }
}

/** pino's numbers for these levels. */
const PINO_LEVELS: Readonly<Record<Level, number>> = { error: 50, warning: 40, info: 30 }

/**
 * Writes a line for each event of the app's workers, and for each error nobody waits for, at `level` or graver.
 * As JSON a line is an object with pino's `level`, `time`, `pid`, `hostname` and `msg`, and the event's own fields.
 * Returns what writes a line of the worker's own.
 */
export function logEvents(
  app: App,
  level: Level,
  format: LogFormat,
  write: (line: string) => void,
  now: () => Date = () => new Date(),
): (text: string) => void {
  const log = ([gravity, text]: Line, fields: object) => {
    if (LEVELS.indexOf(gravity) > LEVELS.indexOf(level)) return
    const at = now()
    if (format === 'text') return write(`${at.toISOString()} ${gravity} ${printableLines(text)}`)
    write(JSON.stringify({ level: PINO_LEVELS[gravity], time: at.getTime(), pid: process.pid, hostname: hostname(), ...fields, msg: text }))
  }
  for (const kind of EVENT_KINDS) {
    app.on(kind, (event: WorkerEvent) => {
      const { kind: event_, id: taskId, ...fields } = event
      log(lineOf(event), { event: event_, taskId, ...fields })
    })
  }
  app.on('error', (error) => {
    const [type, message, stack] = error instanceof Error ? [error.name, error.message, error.stack] : ['Error', String(error), undefined]
    log(['error', stack ?? printable(message)], { event: 'error', err: { type, message, stack } })
  })
  return (text) => log(['info', text], {})
}
