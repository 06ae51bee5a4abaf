import { Flags } from '@oclif/core'
import type { LedgerCommand } from './command.js'
import type { Column } from './table.js'

const FORMATS = ['table', 'plain', 'ids'] as const

export const formatFlag = {
  format: Flags.option({ summary: 'How rows are printed. Default: a table on a terminal, plain lines elsewhere.', options: FORMATS })(),
}

/** The three ways a list of rows is printed. */
export interface RowViews<Row> {
  readonly id: (row: Row) => string
  /** The whole of the plain form: its heading, if it has one, and a line for each row. */
  readonly plain: (rows: readonly Row[]) => readonly string[]
  readonly columns: () => Promise<readonly Column<Row>[]>
}

/** Prints rows in the form asked for. On a terminal a list without rows is not printed at all: the caller says so in words. */
export async function printRows<Row>(
  command: LedgerCommand,
  rows: readonly Row[],
  format: (typeof FORMATS)[number] | undefined,
  views: RowViews<Row>,
): Promise<void> {
  const form = format ?? (process.stdout.isTTY ? 'table' : 'plain')
  if (form === 'plain') for (const line of views.plain(rows)) command.log(line)
  else if (form === 'ids') for (const row of rows) command.log(views.id(row))
  else if (rows.length > 0) await command.logTable(await views.columns(), rows)
}
