import type { Broker, Delivery } from '../broker/broker.js'
import type { JointWork } from '../database/commits.js'
import type { Database } from '../database/database.js'
import { CommitUnknownError } from '../database/failure.js'
import type { Sql } from '../database/sql.js'
import type { Follower, Unsent } from '../publish/follow.js'
import type { Failpoint } from '../task/failpoint.js'
import { isPart, type TaskMessage } from '../task/message.js'

/** What becomes of the message. */
export type Fate = 'ack' | 'reject' | 'requeue' | 'keep'

/** What a step comes to, in its commit. */
export interface Decision<T> {
  readonly value: T
  readonly fate: Fate
  /** What the commit recorded and others are to be handed. */
  readonly following?: readonly Unsent[]
}

/** The same where many deliveries come to it together. */
export interface JointDecision<T> {
  readonly value: T
  readonly fate: 'ack' | 'keep'
}

/** Answers for each of the items what was decided. Null: nothing was written, as one of them may keep the others from it. */
export type JointStep<Item, T> = (items: readonly Item[]) => Promise<readonly Stepped<T>[] | null>

interface Delivered {
  readonly delivery: Delivery
}

type StepName = 'start' | 'finish' | 'retry' | 'refuse' | 'return'

/** What a step decided, and what it did to the message. */
export interface Stepped<T> {
  readonly value: T
  /** Whether the message was this delivery's to dispose of; somebody else may have it since its lease ran out. */
  readonly held: boolean
}

/**
 * A step is one commit; what becomes of the message is part of it where the broker lives in the same database, and follows it
 * elsewhere, once that broker, and Celery's clients, have been handed what the commit recorded.
 */
export class Steps {
  constructor(
    private readonly database: Database,
    private readonly broker: Broker,
    private readonly follower: Pick<Follower, 'send'>,
    private readonly failpoint: Failpoint,
  ) {}

  /** @param order as for `Database.write` */
  async take<T>(name: StepName, delivery: Delivery, order: string | null, work: (sql: Sql) => Promise<Decision<T>>): Promise<Stepped<T>> {
    const { within } = this.broker
    await this.failpoint(`${name}:before`)
    const { value, fate, held, following } = await this.database.write(async (sql) => {
      const done = await work(sql)
      return { ...done, held: within ? await dispose(within(sql), delivery, done.fate) : true }
    }, order)
    await this.failpoint(`${name}:committed`)
    if (following) await this.follower.send(following)
    if (within || fate === 'keep') return { value, held }
    await this.failpoint('ack:before')
    const disposed = await dispose(this.broker, delivery, fate)
    await this.failpoint('ack:after')
    return { value, held: disposed }
  }

  /** A step that many deliveries take at one time, in one commit, and after which nothing follows. */
  jointly<Item extends Delivered, T>(name: StepName, work: JointWork<Item, JointDecision<T>>): JointStep<Item, T> {
    const { within } = this.broker
    const whole: JointWork<Item, Stepped<T> & JointDecision<T>> = async (sql, items) => {
      const decisions = await work(sql, items)
      return within ? ackThose(within(sql), items, decisions) : decisions.map((done) => ({ ...done, held: true }))
    }
    return async (items) => {
      await this.failpoint(`${name}:before`)
      const done = await this.database.writeJointly(whole, items).catch((error) => {
        if (error instanceof CommitUnknownError) throw error
        return null
      })
      if (!done) return null
      await this.failpoint(`${name}:committed`)
      if (within || !done.some(({ fate }) => fate === 'ack')) return done
      await this.failpoint('ack:before')
      const acked = await ackThose(this.broker, items, done)
      await this.failpoint('ack:after')
      return acked
    }
  }
}

async function ackThose<T extends { readonly fate: Fate }>(
  postings: Pick<Broker, 'ackAll'>,
  items: readonly Delivered[],
  decisions: readonly T[],
): Promise<(T & { readonly held: boolean })[]> {
  const acked = items.filter((_, i) => decisions[i]?.fate === 'ack')
  const held = acked.length === 0 ? [] : await postings.ackAll(acked.map(({ delivery }) => delivery))
  let at = 0
  return decisions.map((done) => ({ ...done, held: done.fate !== 'ack' || held[at++] === true }))
}

async function dispose(postings: Pick<Broker, 'ack' | 'reject'>, delivery: Delivery, fate: Fate): Promise<boolean> {
  if (fate === 'keep') return true
  return fate === 'ack' ? postings.ack(delivery) : postings.reject(delivery, { requeue: fate === 'requeue' })
}

/** The members of a group change its counters one after the other; nobody else has a stake in the end of a task that is no part. */
export const groupOrder = (message: TaskMessage): string | null =>
  isPart(message) || message.options.celery ? (message.groupId ?? '') : null
