import { stringify } from 'csv-stringify/sync'
import type { Sql } from '../database/sql.js'
import { cellsOf, cellsText, objectOf, objectText, TASK_FIELDS, type TaskField, taskFields } from './fields.js'
import type { TaskFilter } from './filter.js'
import { type PageLayout, pagesOf } from './pages.js'
import type { StoredRow } from './row.js'

export const EXPORT_FORMATS = ['json', 'ndjson', 'csv', 'tsv'] as const
export type ExportFormat = (typeof EXPORT_FORMATS)[number]

export interface ExportOptions {
  readonly format: ExportFormat
  /** In this order. Default: every field of a TaskRow. */
  readonly fields?: readonly string[]
  /** In csv and tsv, a quote in front of each text that a spreadsheet would run as a formula. */
  readonly excelSafe?: boolean
}

/** UTF-8 that follows the chunk before, and how many rows it holds. */
export interface ExportChunk {
  readonly bytes: Buffer
  readonly rows: number
}

/** How the rows of a format are asked for, and what is made of them. */
interface Layout extends PageLayout {
  readonly head: string
  /** Default: as the page has them. */
  page?(rows: Buffer): Buffer
  readonly foot: string
}

/**
 * Every row that matches, in id order, as text; page by page, so in constant memory. A row is exported as it is when
 * its page is read: a snapshot would keep a busy ledger's file growing.
 *
 * @throws {UsageError} at once, for a field that does not exist
 */
export function exportRows(
  sql: Sql,
  filter: TaskFilter,
  { format, fields, excelSafe = false }: ExportOptions,
): AsyncGenerator<ExportChunk> {
  return chunks(sql, filter, layoutOf(format, fields ? taskFields(fields) : TASK_FIELDS, excelSafe))
}

function layoutOf(format: ExportFormat, fields: readonly TaskField[], excelSafe: boolean): Layout {
  switch (format) {
    case 'json': {
      const lead = (first: boolean) => (first ? '\n' : ',\n')
      return { ...objects(fields), lead, separator: ',\n', end: '', head: '[', foot: '\n]\n' }
    }
    case 'ndjson':
      return { ...objects(fields), lead: () => '', separator: '\n', end: '\n', head: '', foot: '' }
    case 'csv':
      return tableLayout(fields, ',', excelSafe)
    case 'tsv':
      return tableLayout(fields, '\t', excelSafe)
  }
}

const objects = (fields: readonly TaskField[]) => ({ row: objectOf(fields), line: (row: StoredRow) => objectText(fields, row) })

function tableLayout(fields: readonly TaskField[], delimiter: string, excelSafe: boolean): Layout {
  // one column: an empty line would be no row to many readers
  const options = { delimiter, escape_formulas: excelSafe, quoted_empty: fields.length === 1 }
  const page = (rows: Buffer) => Buffer.from(stringify(JSON.parse(rows.toString()), options))
  const cells = { row: cellsOf(fields), line: (row: StoredRow) => cellsText(fields, row) }
  return { ...cells, lead: () => '[', separator: ',', end: ']', head: stringify([[...fields]], options), page, foot: '' }
}

async function* chunks(sql: Sql, filter: TaskFilter, layout: Layout): AsyncGenerator<ExportChunk> {
  const { head, page = (rows: Buffer) => rows, foot } = layout
  if (head) yield { bytes: Buffer.from(head), rows: 0 }
  for await (const { text, rows } of pagesOf(sql, filter, layout)) {
    yield { bytes: page(Buffer.isBuffer(text) ? text : Buffer.from(text)), rows }
  }
  if (foot) yield { bytes: Buffer.from(foot), rows: 0 }
}
