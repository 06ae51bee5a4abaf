import type { Broker } from '../broker/broker.js'
import type { Database } from '../database/database.js'
import type { Redaction } from '../ledger/arguments.js'
import { cutPublished, markPublished, unpublished } from '../ledger/record.js'
import type { Failpoint } from '../task/failpoint.js'
import type { TaskMessage } from '../task/message.js'

/** Messages that an outside broker is handed at one time, and rows that are then marked in one commit. */
const HANDED = 500

/** Hands the broker the messages of rows that are recorded, and notes on each row that it has been. */
export class Handover {
  constructor(
    private readonly database: Database,
    private readonly broker: Broker,
    private readonly redaction: Redaction,
    private readonly now: () => number,
    private readonly report: (error: unknown) => void,
    private readonly failpoint: Failpoint,
  ) {}

  /** Side by side and in this order. Answers for each whether it was sent. */
  async publishAll(messages: readonly TaskMessage[]): Promise<PromiseSettledResult<void>[]> {
    await this.failpoint('send:before')
    const joins = this.broker.within !== null
    const settled = await (joins ? Promise.allSettled(messages.map((message) => this.publishWithin(message))) : this.hand(messages))
    await this.failpoint('send:marked')
    return settled
  }

  /** To a broker elsewhere, right after the commit that recorded them. One that is away is no failure. */
  async sendRecorded(messages: readonly TaskMessage[]): Promise<void> {
    if (messages.length === 0) return
    await this.failpoint('follow:recorded')
    try {
      for (let from = 0; from < messages.length; from += HANDED) {
        const settled = await this.hand(messages.slice(from, from + HANDED))
        for (const one of settled) if (one.status === 'rejected') throw one.reason
      }
    } catch (error) {
      this.report(error)
    }
  }

  private async publishWithin(message: TaskMessage): Promise<void> {
    const stored = this.redaction.stored(message, true)
    await this.database.write(async (sql) => {
      if (await markPublished(sql, message, stored, this.now())) await this.broker.within?.(sql).publish([message])
    })
  }

  /** Each message has its own confirm, so that one which the broker does not want keeps none of the others back. */
  private async hand(messages: readonly TaskMessage[]): Promise<PromiseSettledResult<void>[]> {
    const ids = messages.map(({ id }) => id)
    const waiting = await unpublished(this.database, ids)
    // others were rolled back, have ended, or were handed over meanwhile
    const publish = async (message: TaskMessage) => (waiting.has(message.id) ? this.broker.publish([message]) : undefined)
    const settled = await Promise.allSettled(messages.map(publish))
    const handed = messages.filter(({ id }, i) => settled[i]?.status === 'fulfilled' && waiting.has(id))
    if (handed.length === 0) return settled
    await this.failpoint('send:handed')
    await this.database.write(async (sql) => {
      for (const message of handed) {
        const since = waiting.get(message.id)
        const stored = this.redaction.stored(message, true)
        const marked = since !== undefined && (await markPublished(sql, message, stored, this.now(), since))
        if (!marked && this.redaction.cuts(message)) await cutPublished(sql, message, stored)
      }
    })
    return settled
  }
}
