import type { Database } from '../database/database.js'
import { findExpiredGroups, nextDeadline } from '../ledger/arrivals.js'
import { revokeUnstarted } from '../ledger/ends.js'
import { findExpired } from '../ledger/expired.js'
import type { TaskRow } from '../ledger/row.js'
import { type Follower, revokedFor } from '../publish/follow.js'
import type { Failpoint } from '../task/failpoint.js'

/** What ends because its time is up, with nobody at work who would notice: chords that wait, and tasks no worker ever took. */
export class Deadlines {
  constructor(
    private readonly database: Database,
    private readonly follower: Follower,
    private readonly settings: {
      readonly batch: number
      readonly leaseMs: number
      /** Seconds; null: for ever. */
      readonly resultExpires: number | null
    },
    private readonly now: () => number,
    private readonly failpoint: Failpoint,
  ) {}

  /** When the next chord's time is up; null: none has a deadline. */
  next(): Promise<number | null> {
    return nextDeadline(this.database)
  }

  /** Fails the body of every chord that still waits at its deadline. Returns how many. */
  async failChords(): Promise<number> {
    let failed = 0
    for (;;) {
      const groups = await findExpiredGroups(this.database, this.now(), this.settings.batch)
      if (groups.length === 0) return failed
      for (const group of groups) {
        await this.failpoint('sweep:before')
        const following = await this.database.write((sql) => this.follower.expire(sql, group))
        await this.failpoint('sweep:committed')
        if (!following) continue
        failed += 1
        await this.follower.send(following)
      }
    }
  }

  /**
   * Revokes tasks whose `expires` has passed, a lease ago: a worker that serves their queue would have done it by now. Returns
   * those it revoked.
   */
  async revokeExpired(limit: number): Promise<TaskRow[]> {
    const revoked: TaskRow[] = []
    for (const row of await findExpired(this.database, this.now() - this.settings.leaseMs, limit)) {
      await this.failpoint('sweep:before')
      const following = await this.database.write(async (sql) => {
        const at = this.now()
        const { resultExpires = this.settings.resultExpires } = row.options
        const end = { at, resultExpiresAt: resultExpires === null ? null : at + resultExpires * 1000 }
        return (await revokeUnstarted(sql, row.taskId, 'expired', end)) ? this.follower.followRow(sql, row, revokedFor('expired')) : null
      })
      await this.failpoint('sweep:committed')
      if (!following) continue
      revoked.push(row)
      await this.follower.send(following)
    }
    return revoked
  }
}
