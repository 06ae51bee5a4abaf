import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Client } from 'pg'

/** The channel on which each insert into task_message tells its schema. */
const CHANNEL = 'taskledger'

/** How often somebody who is told looks all the same, and how often somebody who is not. */
const TOLD_MS = 500
const UNTOLD_MS = 50

/** How long a notification may take before it is taken not to come: a pooler that shares connections passes none on. */
const PROBE_MS = 1000

/** After this long a listener that could not be had is tried again. */
const AGAIN_MS = 30_000

/** One connection that hears of new messages. It only saves time: whoever rests looks again by himself. */
export class Listener {
  private count = 0
  private client: Client | null = null
  private live = false
  private nextTry = 0
  private opening: Promise<void> | null = null
  private readonly waiting = new Set<() => void>()

  constructor(
    /** A connection that is nobody else's. */
    private readonly connect: () => Promise<Client>,
    /** Has the server tell `text` on the channel, over another connection. */
    private readonly tell: (channel: string, text: string) => Promise<void>,
    private readonly schema: () => Promise<string>,
  ) {}

  /** How often something was told. */
  heard(): number {
    return this.count
  }

  /** Waits until more was told than `heard`, or for a little while. */
  async rest(heard: number, signal: AbortSignal): Promise<void> {
    this.open()
    if (this.count !== heard || signal.aborted) return
    const told = new AbortController()
    const wake = () => told.abort()
    this.waiting.add(wake)
    await sleep(this.live ? TOLD_MS : UNTOLD_MS, undefined, { signal: AbortSignal.any([signal, told.signal]) }).catch(() => {}) // rejects only when aborted
    this.waiting.delete(wake)
  }

  async close(): Promise<void> {
    this.nextTry = Number.POSITIVE_INFINITY
    await this.opening
    await this.letGo()
  }

  private open(): void {
    if (this.client || this.opening || performance.now() < this.nextTry) return
    this.nextTry = performance.now() + AGAIN_MS
    this.opening = this.listen()
      .catch(() => this.letGo())
      .finally(() => {
        this.opening = null
      })
  }

  private async listen(): Promise<void> {
    const schema = await this.schema()
    const client = await this.connect()
    this.client = client
    const probe = `probe ${randomUUID()}`
    const lost = () => {
      if (this.client === client) void this.letGo()
    }
    client.on('error', lost)
    client.on('end', lost)
    const heard = new Promise<boolean>((resolve) => {
      client.on('notification', ({ payload }) => {
        if (payload === probe) resolve(true)
        if (payload === schema) this.wake()
      })
    })
    await client.query(`LISTEN ${CHANNEL}`)
    await this.tell(CHANNEL, probe)
    this.live = await Promise.race([heard, sleep(PROBE_MS, false, { ref: false })])
    if (!this.live) await this.letGo()
  }

  private wake(): void {
    this.count += 1
    for (const wake of this.waiting) wake()
  }

  private async letGo(): Promise<void> {
    const { client } = this
    this.client = null
    this.live = false
    await client?.end().catch(() => {})
  }
}
