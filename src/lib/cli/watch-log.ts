import type { WatchEvent } from '../watch/watcher.js'
import type { Line } from './worker-log.js'

/** What the log of a watch says of an event. */
export function lineOfWatch(event: WatchEvent): Line {
  switch (event.kind) {
    case 'watching':
      return ['info', `Watching ${event.broker} as ${event.queue}`]
    case 'disconnected':
      return ['warning', `${event.broker} is lost: ${event.error.message}; the next try is in ${event.retryMs / 1000} s`]
    case 'online':
    case 'offline':
      return ['info', `${event.workerId} is ${event.kind}`]
    case 'unreadable':
      return ['warning', `${event.events} event${event.events === 1 ? ' is' : 's are'} not as Celery writes them, and left out`]
    case 'unheard':
      return ['warning', 'no Celery worker has run on this broker yet: nobody could be asked to send events']
  }
}

/** The fields of its line as JSON. */
export function fieldsOfWatch({ kind: event, ...fields }: WatchEvent): object {
  if (!('error' in fields)) return { event, ...fields }
  const { name: type, message } = fields.error
  return { event, ...fields, error: { type, message } }
}
