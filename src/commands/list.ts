import { Flags } from '@oclif/core'
import type { App } from '../lib/app/app.js'
import { LedgerCommand } from '../lib/cli/command.js'
import { ageMs, checkFlag, durationFlags, filterFlags, filterOf, limit } from '../lib/cli/flags.js'
import { formatFlag, printRows } from '../lib/cli/rows.js'
import { taskColumns } from '../lib/cli/task-list.js'
import { classicInstant } from '../lib/cli/time.js'
import type { TaskFilter } from '../lib/ledger/filter.js'

/** Counting stops here, and says so: a count of everything reads everything. */
const COUNT_CAP = 100_000

export default class List extends LedgerCommand {
  static override summary = 'List recorded tasks, newest first.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> --status FAILURE --since 1d',
    "<%= config.bin %> <%= command.id %> --task 'mail.*' --limit 200 --json",
    '<%= config.bin %> <%= command.id %> --status PENDING --count',
  ]
  static override flags = {
    ...filterFlags,
    ...durationFlags,
    limit: Flags.integer({ ...limit, default: 50 }),
    before: Flags.integer({ summary: 'The page after the one whose JSON says this as next.', min: 1, helpValue: 'N' }),
    count: Flags.boolean({ summary: `Print how many there are, counting no further than ${COUNT_CAP}.` }),
    ...formatFlag,
    check: Flags.boolean({ ...checkFlag.check, summary: 'Exit 1 when there is none.' }),
  }

  async run() {
    const { flags } = await this.parse(List)
    const app = await this.app('read')
    const now = Date.now()
    const age = ageMs(flags)
    const filter = { ...filterOf(flags), ...(age > 0 && { cutoff: new Date(now - age) }) }
    if (flags.count) return this.count(app, filter, flags.check)

    const rows = await app.tasks.list(filter, flags.limit, flags.before)
    await printRows(this, rows, flags.format, {
      id: (row) => row.taskId,
      plain: (all) => all.map((row) => `  ${classicInstant(row.submittedAt)} - ${row.taskId}: ${row.task} ${row.status}`),
      columns: async () => taskColumns(now),
    })
    const next = rows.length === flags.limit ? (rows.at(-1)?.id ?? null) : null
    if (rows.length === 0) this.say('No tasks.')
    else if (next !== null && this.onTerminal) this.say(`More: --before ${next}`)
    if (flags.check && rows.length === 0) this.exitCode = 1
    return { version: 1, kind: 'tasks', count: rows.length, next, tasks: rows }
  }

  private async count(app: App, filter: TaskFilter, check: boolean) {
    const count = await app.tasks.count(filter, COUNT_CAP)
    const capped = count === COUNT_CAP
    this.log(capped ? `${count} or more` : String(count))
    if (check && count === 0) this.exitCode = 1
    return { version: 1, kind: 'task-count', count, capped }
  }
}
