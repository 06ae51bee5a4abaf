import { Flags } from '@oclif/core'
import type { TaskHistory } from '../lib/app/tasks.js'
import { LedgerCommand } from '../lib/cli/command.js'
import { NAMED_BY, resolveIds } from '../lib/cli/ids.js'
import { printableLines } from '../lib/cli/printable.js'
import { classicInstant } from '../lib/cli/time.js'
import { drawTree } from '../lib/cli/tree.js'
import { PlainError, UsageError } from '../lib/task/errors.js'

export default class Show extends LedgerCommand {
  static override summary = 'Show everything the ledger knows of a task.'
  static override description = NAMED_BY
  static override strict = false
  static override usage = '<%= command.id %> ID …|- [FLAGS]'
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
    for (const id of await resolveIds(app.tasks, argv.map(String), PlainError)) {
      const history = await app.tasks.history(id)
      if (history) shown.push(history)
    }
    for (const history of shown) {
      if (flags.field !== undefined) this.printField(fieldText(history, flags.field))
      else for (const line of describe(history)) this.log(line)
    }
    return { version: 1, kind: 'task-histories', tasks: shown.map(({ row, ...rest }) => ({ ...row, ...rest })) }
  }

  private printField(text: string): void {
    this.print(this.onTerminal ? printableLines(text) : text)
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

/** Fields that have a value, one a line; then the history, the copies, the tasks it published and its workflow. */
function describe({ row, attempts, retriedAs, children, tree }: TaskHistory): string[] {
  const { traceback, ...fields } = row
  const line = (name: string, value: string) => `${name.padEnd(16)} ${value}`
  return [
    ...Object.entries(fields).flatMap(([name, value]) => (value === null || value === '' ? [] : [line(name, valueText(value))])),
    ...retriedAs.map((id) => line('retriedAs', id)),
    ...children.map((id) => line('child', id)),
    ...attempts.map(({ at, kind, errorType, errorMessage }) =>
      line('attempt', `${classicInstant(at)} ${kind} ${errorType ?? ''}: ${errorMessage ?? ''}`),
    ),
    ...(traceback ? ['traceback', ...traceback.split(/\r?\n/).map((one) => `  ${one}`)] : []),
    ...(tree ? ['workflow', ...drawTree(tree, row.taskId).map((one) => `  ${one}`)] : []),
    '',
  ]
}
