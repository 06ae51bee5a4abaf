import { Flags, type Interfaces } from '@oclif/core'
import type { App } from '../lib/app/app.js'
import type { Revoked } from '../lib/app/revoke.js'
import { LedgerCommand } from '../lib/cli/command.js'
import { ageMs, bulkFlags, durationFlags, filterFlags, filterOf } from '../lib/cli/flags.js'
import { NAMED_BY, resolveIds } from '../lib/cli/ids.js'
import { UsageError } from '../lib/task/errors.js'

export default class Revoke extends LedgerCommand {
  static override summary = 'Keep tasks from starting, or stop them.'
  static override description =
    'A queued, scheduled or retried task becomes REVOKED and never starts, also on workers that are down now. A running one is left alone unless --terminate: then its row is REVOKED at once, and its worker ' +
    'aborts task.signal, or kills the process of a pool that runs it. What has ended is left alone and reported. The whole id of a later step of a workflow, which has no row yet, ends that workflow. Without --status, a selection by flags means tasks that have not ' +
    `started and, with --terminate, those that run. ${NAMED_BY}`
  static override strict = false
  static override usage = '<%= command.id %> [ID …|-] [FLAGS]'
  static override examples = [
    '<%= config.bin %> <%= command.id %> 0197b2c1-6b0e-7000-8d2c-6f3a1b2c4d5e',
    "<%= config.bin %> <%= command.id %> --task 'mail.*' --status PENDING --yes",
    '<%= config.bin %> <%= command.id %> 0197b2c1-6b0e --terminate',
  ]
  static override flags = {
    ...filterFlags,
    ...durationFlags,
    terminate: Flags.boolean({ summary: 'Also stop tasks that are running.' }),
    max: Flags.integer({ summary: 'Revoke nothing when more than this many are selected.', min: 1, default: 1000, helpValue: 'N' }),
    'ignore-finished': Flags.boolean({ summary: 'Do not exit 1 because of tasks that have ended.' }),
    ...bulkFlags,
  }

  async run() {
    const { flags, argv } = await this.parse(Revoke)
    const app = await this.app(flags['dry-run'] ? 'read' : 'write')
    const named = argv.length > 0
    const ids = named ? await resolveIds(app.tasks, argv.map(String), UsageError, true) : await this.selected(app, flags)
    if (ids.length > flags.max)
      throw new UsageError(`more than ${flags.max} tasks are selected`, { hint: 'narrow the selection, or raise --max' })
    if (flags['dry-run']) {
      for (const id of ids) this.log(`  ${id}`)
      this.say(`Would revoke ${ids.length}.`)
      return this.document([], true)
    }
    if (!named && ids.length > 0 && !(await this.agreed(`Revoke ${ids.length} task${ids.length === 1 ? '' : 's'}?`, flags)))
      return this.document([], false)
    const bar = await this.progress('Revoking', ids.length)
    const done = await app.tasks.revoke(ids, { terminate: flags.terminate }, () => bar.advance())
    bar.stop()
    this.tell(done)
    if (done.some((one) => !one.revoked && !flags['ignore-finished'])) this.exitCode = 1
    return this.document(done, false)
  }

  private tell(done: readonly Revoked[]): void {
    for (const { taskId, task, revoked, error } of done) {
      if (revoked) this.log(`  ${taskId}  ${task}`)
      else this.warn(`${taskId} (${task}) was not revoked: ${error}`)
    }
    this.say(`Revoked ${done.filter((one) => one.revoked).length} of ${done.length}.`)
  }

  private document(items: readonly Revoked[], dryRun: boolean) {
    return { version: 1, kind: 'revoke', dryRun, revoked: items.filter((item) => item.revoked).length, items }
  }

  private async selected(app: App, flags: Interfaces.InferredFlags<typeof Revoke.flags>): Promise<string[]> {
    const age = ageMs(flags)
    const filter = { ...filterOf(flags), ...(age > 0 && { cutoff: new Date(Date.now() - age) }) }
    if (Object.keys(filter).length === 0) {
      throw new UsageError('expected tasks to revoke, got none', { hint: 'give ids, or flags that select, such as --task or --queue' })
    }
    const unnamed = flags.terminate ? ({ open: true } as const) : { statuses: ['PENDING', 'SCHEDULED', 'RETRY'] }
    return (await app.tasks.list({ ...(flags.status ? {} : unnamed), ...filter }, flags.max + 1)).map((row) => row.taskId)
  }
}
