import { Flags } from '@oclif/core'
import type { App } from '../lib/app/app.js'
import { LedgerCommand } from '../lib/cli/command.js'
import { ageMs, durationFlags, limit } from '../lib/cli/flags.js'
import { classicInstant } from '../lib/cli/time.js'
import type { Sent } from '../lib/schedule/sent.js'
import { UsageError } from '../lib/task/errors.js'

export default class SendScheduled extends LedgerCommand {
  static override summary = 'Send every task that is due.'
  static override description =
    'One pass: scheduled tasks whose eta has passed, retries that are due, and tasks that no broker took when they were recorded. Every worker does this by itself; ' +
    'this command is for cron, and for a site whose workers run with --no-sender. It is silent when nothing is due. Any number may run at one time: no task is sent twice. ' +
    'What a sender left that died, a claim or a task that the broker did not confirm, is taken up after a lease under the id it has; --resume does so at once, or at the age given.'
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --dry-run',
    '<%= config.bin %> <%= command.id %> --limit 500 --json',
    '<%= config.bin %> <%= command.id %> --resume --seconds 5',
  ]
  static override flags = {
    limit: Flags.integer({ ...limit, summary: 'Send at most this many.' }),
    resume: Flags.boolean({ summary: 'Take up what a dead sender left, without waiting for a lease.', default: false }),
    ...durationFlags,
    'dry-run': Flags.boolean({ summary: 'List what is due, and send nothing.', default: false }),
  }

  async run() {
    const { flags } = await this.parse(SendScheduled)
    const age = ageMs(flags) / 1000
    if (age > 0 && !flags.resume)
      throw new UsageError('an age was given without --resume; a sender that died is waited for as long as a lease')
    const left = flags.resume ? age : undefined
    const app = await this.app(flags['dry-run'] ? 'read' : 'write')
    if (flags['dry-run']) return this.preview(app, flags.limit, left)

    const sent = await app.tasks.sendScheduled(flags.limit, (one) => this.tell(one), left)
    const count = (outcome: Sent['outcome']) => sent.filter((one) => one.outcome === outcome).length
    if (sent.length > 0)
      this.say(`Sent ${count('sent')} of ${sent.length} due tasks (${count('expired')} expired, ${count('failed')} failed).`)
    if (count('failed') > 0) this.exitCode = 1
    return {
      version: 1,
      kind: 'send-scheduled',
      dryRun: false,
      sent: count('sent'),
      expired: count('expired'),
      failed: count('failed'),
      items: sent,
    }
  }

  /** What a pass would take up; younger claims and unpublished tasks are another process's still. */
  private async preview(app: App, limit?: number, left?: number) {
    const olderThan = left ?? (await app.settings()).lease
    const due = [
      ...(await app.tasks.findStaleScheduled({ reasons: ['claimed'], olderThan })),
      ...(await app.tasks.findStaleScheduled({ reasons: ['overdue'] })),
      ...(await app.tasks.findStale({ reasons: ['overdue'] })),
      ...(await app.tasks.findStale({ reasons: ['unpublished'], olderThan })),
    ].slice(0, limit)
    for (const row of due) this.log(`  ${classicInstant(row.eta ?? row.submittedAt)} - ${row.taskId}: ${row.task}`)
    this.say(`${due.length} due.`)
    return { version: 1, kind: 'send-scheduled', dryRun: true, due: due.map(({ taskId, task, eta }) => ({ taskId, task, eta })) }
  }

  private tell({ taskId, newTaskId, task, outcome, error }: Sent): void {
    if (outcome === 'sent') this.log(`  ${taskId} → ${newTaskId}  ${task}`)
    else if (outcome === 'expired') this.log(`  ${taskId} expired  ${task}`)
    else this.warn(`${taskId} (${task}) was not sent: ${error}`)
  }
}
