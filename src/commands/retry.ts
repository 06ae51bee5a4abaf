import { Flags, type Interfaces } from '@oclif/core'
import type { App } from '../lib/app/app.js'
import type { RetryTerms } from '../lib/app/tasks.js'
import { LedgerCommand } from '../lib/cli/command.js'
import { ageMs, bulkFlags, due, durationFlags, filterFlags, filterOf, reasonFlag } from '../lib/cli/flags.js'
import { NAMED_BY, resolveIds } from '../lib/cli/ids.js'
import type { TaskRow } from '../lib/ledger/row.js'
import type { Resent } from '../lib/publish/resend.js'
import { UsageError } from '../lib/task/errors.js'

export default class Retry extends LedgerCommand {
  static override summary = 'Send recorded tasks again.'
  static override description =
    'Sends a copy that carries everything the original had: arguments, queue, priority, headers, time to live. The original stays as it is, and each shows the other ' +
    '(taskledger show). A row is refused when a copy would double work or could not be whole: it ended well, a live worker has it, its message is still queued, it was sent ' +
    'again before, or its arguments are redacted. Without --status, a selection by flags means tasks that FAILED. ' +
    NAMED_BY
  static override strict = false
  static override usage = '<%= command.id %> [ID …|-] [FLAGS]'
  static override examples = [
    '<%= config.bin %> <%= command.id %> 0197b2c1-6b0e-7000-8d2c-6f3a1b2c4d5e',
    "<%= config.bin %> <%= command.id %> --task 'mail.*' --since 2h --dry-run",
    '<%= config.bin %> <%= command.id %> --from-stale --reason lost --hours 1 --yes',
    '$ find-stale-tasks --hours 1 --format ids | <%= config.bin %> <%= command.id %> -',
  ]
  static override flags = {
    ...filterFlags,
    ...durationFlags,
    'from-stale': Flags.boolean({
      summary: 'What find-stale-tasks lists for the same age and reason. Default: unclaimed and lost.',
      exclusive: ['status', 'error-type', 'since', 'until'],
    }),
    reason: reasonFlag(['unclaimed', 'lost', 'stuck'], ['from-stale']),
    'to-queue': Flags.string({ summary: 'Send the copies to this queue.', helpValue: 'NAME' }),
    priority: Flags.integer({ summary: 'Send the copies with this priority.', min: 0, max: 255, helpValue: 'N' }),
    eta: due({ summary: 'Send the copies then: a time, or how long from now (10m).' }),
    rate: Flags.integer({ summary: 'At most this many a second.', min: 1, helpValue: 'N' }),
    max: Flags.integer({ summary: 'Send nothing when more than this many are selected.', min: 1, default: 1000, helpValue: 'N' }),
    force: Flags.boolean({ summary: 'Also what ended well, what a live worker has, and what was sent again before.' }),
    'fail-fast': Flags.boolean({ summary: 'Stop at the first that is not sent.' }),
    ...bulkFlags,
  }

  async run() {
    const { flags, argv } = await this.parse(Retry)
    const app = await this.app(flags['dry-run'] ? 'read' : 'write')
    const named = argv.length > 0
    const selecting = flags['from-stale'] || ageMs(flags) > 0 || Object.keys(filterOf(flags)).length > 0
    if (named === selecting) {
      throw new UsageError(`expected either ids or flags that select tasks, got ${named ? 'both' : 'neither'}`, {
        hint: 'give ids, --from-stale, or flags that select, such as --task or --error-type',
      })
    }
    const rows = named ? await this.named(app, argv.map(String)) : await this.selected(app, flags)
    if (rows.length > flags.max) {
      throw new UsageError(`more than ${flags.max} tasks are selected`, { hint: 'narrow the selection, or raise --max' })
    }
    if (flags['dry-run']) return this.preview(app, rows, flags)
    if (!named && rows.length > 0 && !(await this.sure(rows, flags))) return this.document(rows.length, [], false)
    const resent = await this.resend(app, rows, flags)
    if (resent.some((one) => one.newTaskId === null)) this.exitCode = 1
    return this.document(rows.length, resent, false)
  }

  private async preview(app: App, rows: readonly TaskRow[], flags: RetryFlags) {
    const previewed = await app.tasks.retry(rows, { ...termsOf(flags), dryRun: true })
    const statuses = new Map(rows.map((row) => [row.taskId, row.status]))
    for (const { taskId, task, error } of previewed) {
      if (error === null) this.log(`  ${taskId}  ${statuses.get(taskId)}  ${task}`)
      else this.warn(`${taskId} (${task}) would not be sent: ${error}`)
    }
    this.say(`Would retry ${previewed.filter((one) => one.error === null).length} of ${count(rows.length)}.`)
    return this.document(rows.length, previewed, true)
  }

  private async sure(rows: readonly TaskRow[], flags: { readonly yes: boolean }): Promise<boolean> {
    if (!flags.yes) for (const row of rows) this.say(`  ${row.taskId}  ${row.status}  ${row.task}`)
    return this.agreed(`Send ${count(rows.length)} again?`, flags)
  }

  private async resend(app: App, rows: readonly TaskRow[], flags: RetryFlags): Promise<Resent[]> {
    const bar = await this.progress('Retrying', rows.length)
    const resent = await app.tasks.retry(rows, { ...termsOf(flags), each: () => bar.advance() })
    bar.stop()
    for (const { taskId, newTaskId, task, error } of resent) {
      if (newTaskId) this.log(`  ${taskId} → ${newTaskId}  ${task}`)
      else this.warn(`${taskId} (${task}) was not sent: ${error}`)
    }
    this.say(`Retried ${resent.filter((one) => one.newTaskId !== null).length} of ${count(rows.length)}.`)
    return resent
  }

  private document(requested: number, items: readonly Resent[], dryRun: boolean) {
    const sent = items.filter((item) => item.newTaskId !== null).length
    const failed = items.filter((item) => item.error !== null).length
    return { version: 1, kind: 'retry', dryRun, requested, sent, failed, items }
  }

  private async named(app: App, words: readonly string[]): Promise<TaskRow[]> {
    const ids = await resolveIds(app.tasks, words)
    return Promise.all(ids.map(async (id) => (await app.tasks.get(id)) as TaskRow))
  }

  private async selected(app: App, flags: RetryFlags): Promise<TaskRow[]> {
    const filter = filterOf(flags)
    const age = ageMs(flags)
    if (flags['from-stale']) {
      return app.tasks.findStale({
        olderThan: age / 1000,
        limit: flags.max + 1,
        reasons: flags.reason ?? ['unclaimed', 'lost'],
        ...(flags.task && { tasks: flags.task }),
        ...(flags.queue !== undefined && { queue: flags.queue }),
      })
    }
    const cutoff = age > 0 ? { cutoff: new Date(Date.now() - age) } : {}
    const newestFirst = await app.tasks.list({ statuses: ['FAILURE'], ...filter, ...cutoff }, flags.max + 1)
    return newestFirst.reverse()
  }
}

type RetryFlags = Interfaces.InferredFlags<typeof Retry.flags>

const termsOf = (flags: RetryFlags): RetryTerms => ({
  force: flags.force,
  failFast: flags['fail-fast'],
  ...(flags.rate !== undefined && { rate: flags.rate }),
  ...(flags['to-queue'] !== undefined && { queue: flags['to-queue'] }),
  ...(flags.priority !== undefined && { priority: flags.priority }),
  ...(flags.eta !== undefined && { eta: flags.eta }),
})

const count = (tasks: number): string => `${tasks} task${tasks === 1 ? '' : 's'}`
