import type { TaskMessage } from '../task/message.js'
import { type CeleryEnd, tupleOf } from './result-form.js'
import type { OutsideStore } from './store.js'

/** A result as a message to the client that waits for it, for its result backend `rpc://`. */
export interface Reply {
  readonly exchange: ''
  /** The client's own queue. Where it is gone, so is the client. */
  readonly routingKey: string
  readonly properties: {
    readonly correlationId: string
    readonly contentType: 'application/json'
    readonly contentEncoding: 'utf-8'
    readonly deliveryMode: 1
    readonly priority: 0
  }
  readonly headers: Readonly<Record<string, never>>
  readonly body: Buffer
}

export function replyOf({ taskId, status, result, traceback, children }: CeleryEnd, replyTo: string): Reply {
  const body = { task_id: taskId, status, result, traceback, children: children.map(tupleOf) }
  return {
    exchange: '',
    routingKey: replyTo,
    properties: { correlationId: taskId, contentType: 'application/json', contentEncoding: 'utf-8', deliveryMode: 1, priority: 0 },
    headers: {},
    body: Buffer.from(JSON.stringify(body)),
  }
}

/** Tells each client that gave an address; nothing is stored. Celery has no chords with this backend. */
export class ReplyStore implements OutsideStore {
  readonly kind = 'outside'
  readonly counts = false

  /** @param reply resolves once the broker has the message; one that no queue takes is no failure */
  constructor(private readonly reply: (reply: Reply) => Promise<void>) {}

  takes({ options }: TaskMessage): boolean {
    return options.celery?.reply_to !== undefined
  }

  async store(end: CeleryEnd): Promise<null> {
    if (end.kept && end.replyTo !== null) await this.reply(replyOf(end, end.replyTo))
    return null
  }

  async release(): Promise<void> {}

  /** The broker belongs to the app, which closes it. */
  async close(): Promise<void> {}
}
