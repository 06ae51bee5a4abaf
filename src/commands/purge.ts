import { Flags } from '@oclif/core'
import type { App } from '../lib/app/app.js'
import { LedgerCommand } from '../lib/cli/command.js'
import { ageMs, bulkFlags, durationFlags } from '../lib/cli/flags.js'
import { EXIT_CODES } from '../lib/cli/signals.js'
import type { PurgeBound } from '../lib/ledger/purge.js'
import { UsageError } from '../lib/task/errors.js'
import { FINAL_STATUSES, type Status } from '../lib/task/status.js'

export default class Purge extends LedgerCommand {
  static override summary = 'Delete the records of tasks that ended long ago.'
  static override description =
    'Tasks that have not ended are never deleted. It works in small commits, so workers are not held up, and Ctrl-C stops it between two of them.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> --days 30 --yes',
    '<%= config.bin %> <%= command.id %> --expired --yes --quiet',
    '<%= config.bin %> <%= command.id %> --keep 100000 --status SUCCESS --dry-run',
  ]
  static override flags = {
    ...durationFlags,
    expired: Flags.boolean({ summary: 'What has outlived its resultExpires.' }),
    keep: Flags.integer({ summary: 'All but the newest this many.', min: 0, helpValue: 'N' }),
    all: Flags.boolean({ summary: 'Every task that has ended.' }),
    status: Flags.option({
      summary: 'Only tasks that ended in this status. Repeatable.',
      options: FINAL_STATUSES as readonly Status[],
      multiple: true,
      multipleNonGreedy: true,
    })(),
    ...bulkFlags,
  }

  async run() {
    const { flags } = await this.parse(Purge)
    const age = ageMs(flags)
    if ([age > 0, flags.expired, flags.keep !== undefined, flags.all].filter(Boolean).length !== 1) {
      throw new UsageError('expected one bound on what is deleted', {
        hint: 'give an age such as --days 30, or --expired, --keep N or --all',
      })
    }
    const app = await this.app(flags['dry-run'] ? 'read' : 'write')
    const bound = flags.expired
      ? { expiredAt: new Date() }
      : flags.keep !== undefined
        ? await app.tasks.boundKeeping(flags.keep)
        : { cutoff: new Date(Date.now() - age) }
    const statuses = flags.status ? { statuses: flags.status } : {}
    const count = bound ? await app.tasks.countPurgeable({ ...bound, ...statuses }) : 0

    const agreed = !flags['dry-run'] && count > 0 && (await this.agreed(`Delete ${count} records?`, flags))
    const deleted = bound && agreed ? await this.purge(app, { ...bound, ...statuses }, count) : 0
    this.log(flags['dry-run'] ? `Would delete ${count} records.` : `Deleted ${deleted} of ${count} records.`)
    return { version: 1, kind: 'purge', dryRun: flags['dry-run'], found: count, deleted }
  }

  private async purge(app: App, bound: PurgeBound, count: number): Promise<number> {
    const interrupted = new AbortController()
    const onInterrupt = () => interrupted.abort()
    process.once('SIGINT', onInterrupt)
    const bar = await this.progress('Deleting', count)
    let seen = 0
    try {
      return await app.tasks.purge(bound, {
        signal: interrupted.signal,
        each: (deleted) => {
          bar.advance(deleted - seen)
          seen = deleted
        },
      })
    } finally {
      bar.stop()
      process.off('SIGINT', onInterrupt)
      if (interrupted.signal.aborted) this.exitCode = EXIT_CODES.SIGINT
    }
  }
}
