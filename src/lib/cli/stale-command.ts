import { Flags, type Interfaces } from '@oclif/core'
import type { StaleQuery } from '../app/tasks.js'
import type { StaleReason, StaleRow } from '../ledger/stale.js'
import { formatDurationMs } from '../task/duration.js'
import { LedgerCommand } from './command.js'
import { ageMs, checkFlag, durationFlags, filterFlags, limit } from './flags.js'
import { formatFlag, printRows } from './rows.js'
import type { Column } from './table.js'
import { classicInstant, formatAge, localInstant } from './time.js'

const LIMIT = 1000

export const staleFlags = {
  ...durationFlags,
  task: filterFlags.task,
  queue: filterFlags.queue,
  limit: Flags.integer({ ...limit, default: LIMIT }),
  ...formatFlag,
  ...checkFlag,
  max: Flags.integer({ summary: 'With --check: so many may be found.', min: 0, default: 0, helpValue: 'N' }),
}

type StaleFlags = Interfaces.InferredFlags<typeof staleFlags> & { readonly reason?: StaleReason[] | undefined }

/** What a list of stale rows is called, and what to do about it. */
interface StaleWords {
  readonly kind: string
  /** `stale tasks` */
  readonly rows: string
  readonly since: string
}

/** What the two commands that list stale rows share. */
export abstract class StaleCommand extends LedgerCommand {
  /** The flags as a query. It asks for one row more than is shown or tolerated, to know whether there are more. */
  protected query(flags: StaleFlags): StaleQuery {
    return {
      olderThan: ageMs(flags) / 1000,
      limit: Math.max(flags.limit, flags.max) + 1,
      ...(flags.task && { tasks: flags.task }),
      ...(flags.queue !== undefined && { queue: flags.queue }),
      ...(flags.reason && { reasons: flags.reason }),
    }
  }

  /** Prints what was found and returns the document of it. With `--check`, more than `--max` rows make the exit code 1. */
  protected async tell(found: readonly StaleRow[], flags: StaleFlags, words: StaleWords) {
    const now = Date.now()
    const rows = found.slice(0, flags.limit)
    const truncated = found.length > rows.length
    await printRows(this, rows, flags.format, {
      id: (row) => row.taskId,
      plain: (all) => [`${words.rows[0]?.toUpperCase()}${words.rows.slice(1)}:`, ...all.map(classicLine)],
      columns: async () => columns(words.since, now, (await this.colours()).yellow),
    })
    if (this.onTerminal) this.summarise(rows, truncated, flags, words)
    if (flags.check && found.length > flags.max) this.exitCode = 1
    return {
      version: 1,
      kind: words.kind,
      cutoff: new Date(now - ageMs(flags)),
      olderThanMs: ageMs(flags),
      count: rows.length,
      truncated,
      tasks: rows.map((row) => documentOf(row, now)),
    }
  }

  private summarise(rows: readonly StaleRow[], truncated: boolean, flags: StaleFlags, words: StaleWords): void {
    const older = ageMs(flags) === 0 ? '' : ` older than ${formatDurationMs(ageMs(flags))}`
    const more = truncated ? ', and more: --limit shows them' : ''
    const what = rows.length === 1 ? words.rows.slice(0, -1) : words.rows
    this.say(`${rows.length || 'No'} ${what}${older}${more}.`)
    for (const reason of new Set(rows.map((row) => row.reason))) this.say(`  ${reason}: ${ADVICE[reason]}`)
  }
}

/** What puts a row of each reason right. */
const ADVICE: Readonly<Record<StaleReason, string>> = {
  unpublished: 'a sender publishes it: taskledger send-scheduled',
  unclaimed: 'it waits for a worker of its queue',
  lost: 'to send it again: taskledger retry --from-stale --reason lost',
  stuck: 'its worker is alive, and still at it',
  overdue: 'to send it: taskledger send-scheduled',
  claimed: 'a sender takes it up when the lease has run out; sooner with --release',
  ended: 'it has ended, in a status you do not call terminal',
}

/** The instant a row's age counts from, by what it waits for. */
function staleSince(row: StaleRow): Date {
  if (row.reason === 'claimed') return row.claimedAt ?? row.updatedAt
  return row.reason === 'overdue' ? (row.eta ?? row.updatedAt) : row.updatedAt
}

/** The ancestor's line, which existing scripts read: `  <date> - <id>: <task>`. */
const classicLine = (row: StaleRow): string => `  ${classicInstant(staleSince(row))} - ${row.taskId}: ${row.task}`

const columns = (since: string, now: number, paint: (text: string) => string): Column<StaleRow>[] => [
  { heading: since, value: (row) => localInstant(staleSince(row)) },
  { heading: 'Age', value: (row) => formatAge(now - staleSince(row).getTime()), align: 'right' },
  { heading: 'Reason', value: (row) => row.reason, paint: (text) => paint(text) }, // chalk joins all it is given
  { heading: 'Status', value: (row) => row.status },
  { heading: 'Queue', value: (row) => row.queue, shrinks: true },
  { heading: 'Task', value: (row) => row.task, shrinks: true },
  { heading: 'Id', value: (row) => row.taskId },
]

const documentOf = (row: StaleRow, now: number) => ({
  taskId: row.taskId,
  task: row.task,
  status: row.status,
  reason: row.reason,
  ageMs: now - staleSince(row).getTime(),
  submittedAt: row.submittedAt,
  updatedAt: row.updatedAt,
  eta: row.eta,
  claimedAt: row.claimedAt,
  scheduledId: row.scheduledId,
  queue: row.queue,
  workerId: row.workerId,
  leaseUntil: row.leaseUntil,
  retries: row.retries,
})
