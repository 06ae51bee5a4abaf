import { Flags } from '@oclif/core'
import type { TaskHistory } from '../lib/app/tasks.js'
import { LedgerCommand } from '../lib/cli/command.js'
import { resolveIds } from '../lib/cli/ids.js'
import { printable, printableLines } from '../lib/cli/printable.js'
import { classicInstant } from '../lib/cli/time.js'
import { UsageError } from '../lib/task/errors.js'

export default class Show extends LedgerCommand {
  static override summary = 'Show everything the ledger knows of a task.'
  static override strict = false
  static override usage = '<%= command.id %> ID … [FLAGS]'
  static override examples = [
    '<%= config.bin %> <%= command.id %> 0197b2c1-6b0e-7000-8d2c-6f3a1b2c4d5e',
    '<%= config.bin %> <%= command.id %> 0197b2c1-6b0e --field traceback',
    '<%= config.bin %> <%= command.id %> 0197b2c1-6b0e --json',
  ]
  static override flags = {
    field: Flags.string({ summary: 'Print this field alone, as it is.', helpValue: 'NAME' }),
  }

  async run() {
    const { flags, argv } = await this.parse(Show)
    if (argv.length === 0) throw new UsageError('expected the id of a task, got none', { hint: 'taskledger list shows the newest' })
    const app = await this.app('read')
    const shown: TaskHistory[] = []
    for (const id of await resolveIds(app.tasks, argv.map(String))) {
      const history = await app.tasks.history(id)
      if (history) shown.push(history)
    }
    for (const history of shown) {
      if (flags.field === undefined) this.log(describe(history))
      else this.log(fieldText(history, flags.field))
    }
    return { version: 1, kind: 'task-histories', tasks: shown.map(({ row, ...rest }) => ({ ...row, ...rest })) }
  }
}

function valueText(value: unknown): string {
  if (value instanceof Date) return classicInstant(value)
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function fieldText({ row }: TaskHistory, field: string): string {
  const found = Object.entries(row).find(([name]) => name === field)
  if (!found) throw new UsageError(`there is no field named ${field}; the fields are ${Object.keys(row).join(', ')}`)
  return found[1] === null ? '' : valueText(found[1])
}

/** Fields that have a value, one a line; then the history, the copies and the tasks it published. */
function describe({ row, attempts, retriedAs, children }: TaskHistory): string {
  const { traceback, ...fields } = row
  const lines = Object.entries(fields)
    .filter(([, value]) => value !== null && value !== '')
    .map(([name, value]) => `${name.padEnd(16)} ${printable(valueText(value))}`)
  for (const id of retriedAs) lines.push(`${'retriedAs'.padEnd(16)} ${printable(id)}`)
  for (const id of children) lines.push(`${'child'.padEnd(16)} ${printable(id)}`)
  for (const { at, kind, errorType, errorMessage } of attempts) {
    lines.push(`${'attempt'.padEnd(16)} ${classicInstant(at)} ${kind} ${printable(`${errorType ?? ''}: ${errorMessage ?? ''}`)}`)
  }
  if (traceback)
    lines.push(
      'traceback',
      ...printableLines(traceback)
        .split('\n')
        .map((line) => `  ${line}`),
    )
  return `${lines.join('\n')}\n`
}
