import type { Subscription } from '../celery/subscription.js'

/** A worker says that it is there a little before it listens. */
const ASK_AFTER_MS = [0, 1000, 5000, 15_000]

/** Has the workers of a cluster send events of their tasks. */
export class EventRequests {
  /** When they are to be asked, soonest first. */
  private due: readonly number[] = []

  /** @param unheard told when nobody is there yet to be asked */
  constructor(
    private readonly now: () => number,
    private readonly unheard: () => void,
    private readonly report: (error: unknown) => void,
  ) {}

  /** Workers that start later are asked as well: each says that it is there. */
  askSoon(): void {
    this.due = ASK_AFTER_MS.map((ms) => this.now() + ms)
  }

  askIfDue(subscription: Subscription): void {
    if ((this.due[0] ?? Number.POSITIVE_INFINITY) > this.now()) return
    const later = this.due.filter((at) => at > this.now())
    this.due = later
    subscription.enableEvents().then((heard) => {
      if (heard) return
      if (this.due === later) this.due = [] // one that comes says so
      this.unheard()
    }, this.report)
  }
}
