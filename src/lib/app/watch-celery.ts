import { parseAddress } from '../celery/address.js'
import { type WatchEvent, Watcher } from '../watch/watcher.js'
import type { Parts } from './parts.js'

export interface WatchOptions {
  /** Whether to have workers that do not send events of their tasks send them. */
  readonly enableEvents: boolean
}

/** @throws {UsageError} for a URL that is none of RabbitMQ's */
export function watcherOf(
  { database, redaction, follower, settings, now }: Parts,
  url: string,
  { enableEvents }: WatchOptions,
  emit: (event: WatchEvent) => void,
  report: (error: unknown) => void,
): Watcher {
  const { lease, resultExpires } = settings
  const own = { enableEvents, leaseMs: lease * 1000, resultExpires }
  return new Watcher(parseAddress(url), database, redaction, follower, own, emit, report, now)
}
