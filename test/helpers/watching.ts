import type { EventsOfTask, TaskEvent } from '../../src/lib/celery/events.js'
import { Redaction } from '../../src/lib/ledger/arguments.js'
import type { Follower } from '../../src/lib/publish/follow.js'
import { NextSteps } from '../../src/lib/watch/next-steps.js'
import { type Recorded, recordEvents } from '../../src/lib/watch/record.js'
import type { RowTerms } from '../../src/lib/watch/watched-row.js'
import { DAWN, type World } from './world.js'

export const CLUSTER = 'celery amqp://host:5672/'
export const LEASE_MS = 30_000

export const termsOf = (follower: Follower, redact: readonly string[] = []): RowTerms => ({
  redaction: new Redaction(redact),
  follower,
  steps: new NextSteps(follower),
  resultExpires: 60,
  leaseMsOf: () => LEASE_MS,
})

export interface Seeing {
  readonly patient?: boolean
  readonly redact?: readonly string[]
  readonly now?: number
}

/** Has a watch record the events of one task, and send what follows. */
export async function see(
  { database, follower }: Pick<World, 'database' | 'follower'>,
  of: readonly TaskEvent[],
  { patient = false, redact = [], now = DAWN }: Seeing = {},
): Promise<Recorded> {
  const events = of as unknown as EventsOfTask
  const { recorded, unsent } = await database.write((sql) => recordEvents(sql, events, CLUSTER, termsOf(follower, redact), patient, now))
  await follower.send(unsent)
  return recorded
}

/** The same events of another task. */
export const as = (id: string, of: readonly TaskEvent[], parentId: string | null = null): TaskEvent[] =>
  of.map((event): TaskEvent => ('parentId' in event ? { ...event, id, parentId } : { ...event, id }))
