import { FAILPOINTS, type FailpointName } from '../../src/lib/task/failpoint.js'
import { type Databases, POSTGRES, SQLITE } from '../helpers/databases.js'
import { FAULTS, type Fault, type Kind, type Work } from '../helpers/interrupted.js'

/** What a ledger and its messages are in. */
export interface Engine {
  readonly name: string
  readonly ledger: Databases
  /** `outside` is a stand-in: an embedded broker in a database of its own. */
  readonly broker: 'embedded' | 'outside' | 'RabbitMQ'
}

export const EMBEDDED: Engine = { name: 'the embedded broker', ledger: SQLITE, broker: 'embedded' }
export const OUTSIDE: Engine = { name: 'an outside broker', ledger: SQLITE, broker: 'outside' }
export const ON_POSTGRES: Engine = { name: 'the embedded broker in PostgreSQL', ledger: POSTGRES, broker: 'embedded' }
export const RABBIT: Engine = { name: 'RabbitMQ, the ledger in SQLite', ledger: SQLITE, broker: 'RabbitMQ' }
export const RABBIT_ON_POSTGRES: Engine = { name: 'RabbitMQ, the ledger in PostgreSQL', ledger: POSTGRES, broker: 'RabbitMQ' }

/** Whether a row and its message are one commit decides which failpoints there are. */
type Column = 'embedded' | 'outside'
const columnOf = ({ broker }: Engine): Column => (broker === 'embedded' ? 'embedded' : 'outside')

/** Those of results for Celery's clients need a store outside: celery-results.test.ts interrupts a program at them. */
export type OwnPoint = Exclude<FailpointName, `result:${string}`>
export const POINTS = FAILPOINTS.filter((point): point is OwnPoint => !point.startsWith('result:'))

/** The tasks each failpoint is reached with, and by what work. A failpoint that is not here does not compile. */
const MATRIX: Record<OwnPoint, Partial<Record<Column, readonly Kind[]>>> = {
  'publish:before': { embedded: ['early', 'chained'], outside: ['early', 'chained'] },
  'publish:recorded': { embedded: ['early', 'scheduled', 'chained'], outside: ['early', 'scheduled', 'chained'] },
  'send:before': { embedded: ['retrying'], outside: ['early', 'retrying', 'scheduled'] },
  'send:handed': { outside: ['early', 'retrying', 'scheduled', 'chained'] },
  'send:marked': { embedded: ['retrying'], outside: ['early', 'retrying', 'scheduled'] },
  'follow:recorded': { outside: ['chained', 'chord', 'erring'] },
  'claim:before': { embedded: ['early', 'late'], outside: ['early', 'late'] },
  'claim:received': { embedded: ['early', 'late'], outside: ['early', 'late'] },
  'start:before': { embedded: ['limited'], outside: ['early', 'late'] },
  'start:committed': { embedded: ['limited'], outside: ['early', 'late'] },
  'body:before': { embedded: ['early', 'late'], outside: ['early', 'late'] },
  'body:after': { embedded: ['early', 'late'], outside: ['early', 'late'] },
  'finish:before': { embedded: ['early', 'late', 'chained', 'chord', 'erring'], outside: ['early', 'late', 'chained', 'chord', 'erring'] },
  'finish:committed': {
    embedded: ['early', 'late', 'chained', 'chord', 'erring'],
    outside: ['early', 'late', 'chained', 'chord', 'erring'],
  },
  'retry:before': { embedded: ['retrying'], outside: ['retrying'] },
  'retry:committed': { embedded: ['retrying'], outside: ['retrying'] },
  'refuse:before': { embedded: ['expired'], outside: ['expired'] },
  'refuse:committed': { embedded: ['expired'], outside: ['expired'] },
  'return:before': { embedded: ['held'], outside: ['held'] },
  'return:committed': { embedded: ['held'], outside: ['held'] },
  'ack:before': { outside: ['early', 'late', 'expired', 'chained'] },
  'ack:after': { outside: ['early', 'late', 'expired'] },
  'sender:before': { embedded: ['scheduled'], outside: ['scheduled'] },
  'sender:claimed': { outside: ['scheduled'] },
  'sender:recorded': { embedded: ['scheduled'], outside: ['scheduled'] },
  'sweep:before': { embedded: ['waiting'], outside: ['waiting'] },
  'sweep:committed': { embedded: ['waiting'], outside: ['waiting'] },
  'rescue:before': { embedded: ['lost'], outside: ['lost'] },
  'rescue:committed': { embedded: ['lost'], outside: ['lost'] },
  'revoke:before': { embedded: ['revoked'], outside: ['revoked'] },
  'revoke:committed': { embedded: ['revoked'], outside: ['revoked'] },
  'purge:before': { embedded: ['finished'] },
  'purge:committed': { embedded: ['finished'] },
}

export function workOf(point: FailpointName, kind: Kind): Work {
  if (point.startsWith('publish:')) return 'publish'
  if (point.startsWith('send:') && kind !== 'chained') return kind === 'early' ? 'publish' : 'send'
  if (point.startsWith('sender:') || point.startsWith('sweep:')) return 'send'
  if (kind === 'held') return 'stop'
  if (kind === 'revoked') return 'revoke'
  return kind === 'finished' ? 'purge' : 'work'
}

export interface Case {
  readonly engine: Engine
  readonly point: FailpointName
  readonly kind: Kind
  readonly fault: Fault
}

export const shown = ({ engine, point, kind, fault }: Case): string => `${engine.name}: ${point} ${kind} ${fault}`

/** Every case of an engine. */
export const casesOf = (engine: Engine): readonly Case[] =>
  POINTS.flatMap((point) =>
    (MATRIX[point][columnOf(engine)] ?? []).flatMap((kind) => FAULTS.map((fault): Case => ({ engine, point, kind, fault }))),
  )
