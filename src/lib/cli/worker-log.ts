import { hostname } from 'node:os'
import type { App } from '../app/app.js'
import { EVENT_KINDS, type WorkerEvent } from '../worker/events.js'
import { printable, printableLines } from './printable.js'

const LEVELS = ['error', 'warning', 'info'] as const
export type Level = (typeof LEVELS)[number]
export const LOG_LEVELS: readonly Level[] = LEVELS

export const LOG_FORMATS = ['text', 'json'] as const
export type LogFormat = (typeof LOG_FORMATS)[number]

export type Line = readonly [level: Level, text: string]

/** What a worker's log says of an event. A failure that its task expects is business as usual: no stack. */
function lineOf(event: WorkerEvent): Line {
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

/** Writes a line, with the fields that it has as JSON. */
export type Log = (line: Line, fields: object) => void

/**
 * Writes lines at `level` or graver. As JSON a line is an object with pino's `level`, `time`, `pid`, `hostname` and `msg`, and
 * with fields of its own.
 */
export function openLog(level: Level, format: LogFormat, write: (line: string) => void, now: () => Date = () => new Date()): Log {
  return ([gravity, text], fields) => {
    if (LEVELS.indexOf(gravity) > LEVELS.indexOf(level)) return
    const at = now()
    if (format === 'text') return write(`${at.toISOString()} ${gravity} ${printableLines(text)}`)
    write(JSON.stringify({ level: PINO_LEVELS[gravity], time: at.getTime(), pid: process.pid, hostname: hostname(), ...fields, msg: text }))
  }
}

/** Logs each error of the app's that nobody waits for. */
export function logErrors(app: App, log: Log): void {
  app.on('error', (error) => {
    const [type, message, stack] = error instanceof Error ? [error.name, error.message, error.stack] : ['Error', String(error), undefined]
    log(['error', stack ?? printable(message)], { event: 'error', err: { type, message, stack } })
  })
}

/**
 * Writes a line for each event of the app's workers, and for each error nobody waits for, at `level` or graver.
 * Returns what writes a line of the worker's own.
 */
export function logEvents(
  app: App,
  level: Level,
  format: LogFormat,
  write: (line: string) => void,
  now: () => Date = () => new Date(),
): (text: string) => void {
  const log = openLog(level, format, write, now)
  for (const kind of EVENT_KINDS) {
    app.on(kind, (event: WorkerEvent) => {
      const { kind: event_, id: taskId, ...fields } = event
      log(lineOf(event), { event: event_, taskId, ...fields })
    })
  }
  logErrors(app, log)
  return (text) => log(['info', text], {})
}
