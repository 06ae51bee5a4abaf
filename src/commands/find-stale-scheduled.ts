import { Flags } from '@oclif/core'
import type { App } from '../lib/app/app.js'
import { bulkFlags, reasonFlag } from '../lib/cli/flags.js'
import { StaleCommand, staleFlags } from '../lib/cli/stale-command.js'
import type { StaleRow } from '../lib/ledger/stale.js'

export default class FindStaleScheduled extends StaleCommand {
  static override summary = 'List scheduled tasks that should have been sent by now, oldest first.'
  static override description =
    'A scheduled task is overdue when its eta has passed and no sender sent it (is a worker, or send-scheduled in cron, running?), and claimed when a sender ' +
    'took it and did not finish. An age counts from the eta of an overdue task and from the claim of a claimed one.'
  static override hiddenAliases = ['find-stale-scheduled-tasks']
  static override examples = [
    '<%= config.bin %> <%= command.id %> --minutes 5',
    '<%= config.bin %> <%= command.id %> --reason claimed --json',
    '<%= config.bin %> <%= command.id %> --hours 1 --release --yes',
  ]
  static override flags = {
    ...staleFlags,
    reason: reasonFlag(['overdue', 'claimed']),
    release: Flags.boolean({ summary: 'Give up the claims of the claimed tasks listed: a sender sends them under new ids.' }),
    ...bulkFlags,
  }

  async run() {
    const { flags } = await this.parse(FindStaleScheduled)
    const app = await this.app(flags.release && !flags['dry-run'] ? 'write' : 'read')
    const found = await app.tasks.findStaleScheduled(this.query(flags))
    const words = { kind: 'stale-scheduled', rows: 'stale scheduled tasks', since: 'Due or claimed' }
    const document = await this.tell(found, flags, words)
    if (!flags.release) return document
    const claimed = found.slice(0, flags.limit).filter((row) => row.reason === 'claimed')
    return { ...document, released: await this.release(app, claimed, flags) }
  }

  private async release(app: App, claimed: readonly StaleRow[], flags: { 'dry-run': boolean; yes: boolean }): Promise<number> {
    if (flags['dry-run'] || claimed.length === 0) {
      this.say(`Would release ${claimed.length} claims.`)
      return 0
    }
    if (!(await this.agreed(`Give up ${claimed.length} claims?`, flags))) return 0
    const released = await app.tasks.releaseScheduled(claimed.map((row) => row.taskId))
    this.say(`Released ${released} claims.`)
    return released
  }
}
