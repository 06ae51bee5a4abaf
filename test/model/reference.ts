import { isFinal } from '../../src/lib/task/status.js'

export const LEASE_MS = 30_000
export const RETRY_MS = 1000

/** Early ack, late ack, and early ack whose task is to run again when its worker is lost. */
export const KINDS = ['early', 'late', 'rescued'] as const
export type Kind = (typeof KINDS)[number]

/** The retries a lost task has: the default of every task. */
const MAX_RETRIES = 3

export interface Row {
  readonly id: string
  readonly kind: Kind
  status: string
  retries: number
  deliveries: number
  worker: string | null
  lease: number | null
  eta: number | null
  /** Whether a message was sent for it since it last began to wait. */
  published: boolean
  readonly retryOf: string | null
}

interface Message {
  readonly id: string
  readonly retries: number
  deliveries: number
  heldUntil: number | null
}

/** A delivery in a worker's hands, which may long have gone to somebody else. */
export interface Hand {
  readonly message: Message
  readonly deliveries: number
  readonly worker: string
  readonly leaseUntil: number
  started: boolean
}

/** What the ledger is to do, in few words: the rows, the messages, and a line of history for each end that was none. */
export class Reference {
  now: number
  rows: Row[] = []
  messages: Message[] = []
  hands: Hand[] = []
  readonly history = new Map<string, string[]>()

  constructor(now: number) {
    this.now = now
  }

  publish(id: string, kind: Kind, eta: number | null, retryOf: string | null = null): void {
    const status = eta === null ? 'PENDING' : 'SCHEDULED'
    const own = { retries: 0, deliveries: 0, worker: null, lease: null, eta, published: eta === null, retryOf }
    this.rows.push({ id, kind, status, ...own })
    if (eta === null) this.send(id, 0)
  }

  receive(worker: string): Hand | null {
    for (const message of this.messages) if (message.heldUntil !== null && message.heldUntil <= this.now) message.heldUntil = null
    const message = this.messages.find(({ heldUntil }) => heldUntil === null)
    if (!message) return null
    message.heldUntil = this.now + LEASE_MS
    message.deliveries += 1
    const hand = { message, deliveries: message.deliveries, worker, leaseUntil: message.heldUntil, started: false }
    this.hands.push(hand)
    return hand
  }

  /** Only a delivery newer than the last that started it may start an execution, and only the execution its row waits for. */
  start(hand: Hand): boolean {
    const row = this.row(hand.message.id)
    const late = row?.kind === 'late'
    const starts =
      this.isFree(row) && row.status !== 'SCHEDULED' && row.retries === hand.message.retries && row.deliveries <= hand.deliveries
    if (starts) {
      const lease = late ? hand.leaseUntil : this.now + LEASE_MS
      Object.assign(row, { status: 'STARTED', worker: hand.worker, deliveries: hand.deliveries, lease })
    }
    const running = row && !isFinal(row.status) && row.lease !== null && row.lease > this.now && row.retries === hand.message.retries
    const keeps = late && (starts || (hand.deliveries > 1 && running))
    if (!keeps) this.ack(hand)
    hand.started = starts
    if (!starts) this.drop(hand)
    return starts
  }

  beat(hand: Hand): void {
    const row = this.owned(hand)
    if (row) row.lease = this.now + LEASE_MS
    if (this.row(hand.message.id)?.kind === 'late' && this.holds(hand)) hand.message.heldUntil = this.now + LEASE_MS
  }

  settle(hand: Hand, as: 'SUCCESS' | 'FAILURE' | 'RETRY'): boolean {
    const row = this.owned(hand)
    this.drop(hand)
    if (!row) {
      this.note(hand.message.id, 'late-result')
      return false
    }
    if (row.kind === 'late') this.ack(hand)
    if (as === 'RETRY') this.wait(row, this.now + RETRY_MS, 'retry')
    else this.end(row, as)
    if (as === 'FAILURE') this.note(row.id, 'failure')
    return true
  }

  giveBack(hand: Hand): void {
    const row = this.owned(hand)
    this.drop(hand)
    if (row) {
      Object.assign(row, { status: 'PENDING', worker: null, lease: null })
      this.note(row.id, 'given-back')
    }
    if (this.holds(hand)) hand.message.heldUntil = null
  }

  rescue(): void {
    for (const row of this.rows) {
      if (row.kind !== 'rescued' || isFinal(row.status) || row.lease === null || row.lease > this.now) continue
      if (row.retries < MAX_RETRIES) this.wait(row, this.now, 'lost')
      else {
        this.end(row, 'FAILURE')
        this.note(row.id, 'lost')
      }
    }
  }

  revoke(row: Row, terminate: boolean): boolean {
    if (isFinal(row.status) || (!terminate && row.lease !== null && row.lease > this.now)) return false
    this.end(row, 'REVOKED')
    this.messages = this.messages.filter(({ id }) => id !== row.id)
    return true
  }

  /** The rows whose time has come, scheduled ones first, each kind by its eta. */
  due(): Row[] {
    const waiting = this.rows.filter((row) => !isFinal(row.status) && !row.published && row.eta !== null && row.eta < this.now)
    const byEta = waiting.sort((a, b) => (a.eta ?? 0) - (b.eta ?? 0) || this.rows.indexOf(a) - this.rows.indexOf(b))
    return [...byEta.filter(({ status }) => status === 'SCHEDULED'), ...byEta.filter(({ status }) => status !== 'SCHEDULED')]
  }

  /** @param newId of the task that a scheduled one becomes */
  sent(row: Row, newId: string): void {
    if (row.status === 'SCHEDULED') {
      this.end(row, 'SCHEDULED_SENT')
      this.publish(newId, row.kind, null)
    } else {
      row.published = true
      this.send(row.id, row.retries)
    }
  }

  /** Whether an operator may have a copy of it sent. */
  maySendAgain(row: Row): boolean {
    if (this.rows.some(({ retryOf }) => retryOf === row.id)) return false
    if (isFinal(row.status)) return row.status === 'FAILURE' || row.status === 'REVOKED'
    return row.published && this.isFree(row) && !this.messages.some(({ id }) => id === row.id)
  }

  /** Whether nobody is about to start a task that has ended: its row is what tells that it has. */
  mayPurge(): boolean {
    return !this.hands.some(({ message, started }) => !started && isFinal(this.row(message.id)?.status ?? ''))
  }

  purge(): void {
    for (const row of this.rows.filter(({ status }) => isFinal(status))) {
      this.history.delete(row.id)
      this.messages = this.messages.filter(({ id }) => id !== row.id)
    }
    this.rows = this.rows.filter(({ status }) => !isFinal(status))
  }

  row(id: string): Row | undefined {
    return this.rows.find((row) => row.id === id)
  }

  /** The row, if this execution is the one that may end it. */
  private owned(hand: Hand): Row | undefined {
    const row = this.row(hand.message.id)
    const own = row && row.worker === hand.worker && row.deliveries === hand.deliveries && row.retries === hand.message.retries
    return own && row.lease !== null && !isFinal(row.status) ? row : undefined
  }

  private isFree(row: Row | undefined): row is Row {
    return row !== undefined && !isFinal(row.status) && (row.lease === null || row.lease <= this.now)
  }

  private holds({ message, deliveries }: Hand): boolean {
    return this.messages.includes(message) && message.deliveries === deliveries && message.heldUntil !== null
  }

  private ack(hand: Hand): void {
    if (hand.message.deliveries === hand.deliveries) this.messages = this.messages.filter((message) => message !== hand.message)
  }

  private send(id: string, retries: number): void {
    this.messages.push({ id, retries, deliveries: 0, heldUntil: null })
  }

  private wait(row: Row, eta: number, why: string): void {
    const retries = row.retries + 1
    Object.assign(row, { status: 'RETRY', retries, deliveries: 0, worker: null, lease: null, eta, published: false })
    this.note(row.id, why)
  }

  private end(row: Row, status: string): void {
    Object.assign(row, { status, lease: null })
  }

  private drop(hand: Hand): void {
    this.hands = this.hands.filter((other) => other !== hand)
  }

  private note(id: string, kind: string): void {
    this.history.set(id, [...(this.history.get(id) ?? []), kind])
  }
}
