import { stringify } from 'csv-stringify/sync'
import type { Binding, Sql } from '../database/sql.js'
import { cellsOf, objectOf, TASK_FIELDS, type TaskField, taskFields } from './fields.js'
import { type TaskFilter, whereOf } from './filter.js'

export const EXPORT_FORMATS = ['json', 'ndjson', 'csv', 'tsv'] as const
export type ExportFormat = (typeof EXPORT_FORMATS)[number]

export interface ExportOptions {
  readonly format: ExportFormat
  /** In this order. Default: every field of a TaskRow. */
  readonly fields?: readonly string[]
  /** csv and tsv: cells that a spreadsheet would run as a formula get a quote in front. */
  readonly excelSafe?: boolean
}

/** Text that follows what came before, and how many rows it holds. */
export interface ExportChunk {
  readonly text: string
  readonly rows: number
}

/** How the rows of a format are asked for and joined. */
interface Writer {
  /** An SQL expression for one row. */
  readonly line: string
  readonly opening: string
  readonly closing: string
  lines(lines: readonly string[], first: boolean): string
}

/** Few, because SQLite and the writer are at their best with chunks below 128 KB. */
const PAGE_ROWS = 100

/** A page of larger rows holds fewer, so that the memory it takes does not depend on what tasks are given. */
const MAX_PAGE_BYTES = 4_000_000

/** What a row may hold much of. */
const LONG_COLUMNS = ['args', 'kwargs', 'result', 'error_message', 'traceback', 'options', 'meta']

/**
 * Every row that matches, in id order, as text; read in pages, so in constant memory. A row is exported as it is when
 * its page is read: there is no snapshot that would keep a busy ledger's file growing.
 *
 * @throws {UsageError} at once, for a field that does not exist
 */
export function exportRows(sql: Sql, filter: TaskFilter, options: ExportOptions): AsyncGenerator<ExportChunk> {
  const fields = options.fields ? taskFields(options.fields) : TASK_FIELDS
  return chunks(sql, filter, writerOf(options, fields))
}

async function* chunks(sql: Sql, filter: TaskFilter, writer: Writer): AsyncGenerator<ExportChunk> {
  if (writer.opening) yield { text: writer.opening, rows: 0 }
  let first = true
  for (let after = 0; ; ) {
    const page = await nextPage(sql, filter, after)
    if (page.last === null) break
    after = page.last
    const rows = await sql.all<{ line: string }>(
      `SELECT ${writer.line} AS line FROM task_result WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id`,
      [page.ids],
    )
    const lines = rows.map((row) => row.line)
    if (lines.length > 0) yield { text: writer.lines(lines, first), rows: lines.length }
    first &&= lines.length === 0
  }
  if (writer.closing) yield { text: writer.closing, rows: 0 }
}

interface Page {
  /** A JSON array. */
  readonly ids: string
  /** Null: there are no more. */
  readonly last: number | null
  readonly bytes: number
}

async function nextPage(sql: Sql, filter: TaskFilter, after: number): Promise<Page> {
  const where = whereOf(filter)
  const bytes = LONG_COLUMNS.map((column) => `ifnull(octet_length(${column}), 0)`).join(' + ')
  const matching = `SELECT * FROM task_result ${inIdOrder(filter) ? '' : 'NOT INDEXED'} WHERE ${where.text} AND id > ? ORDER BY id LIMIT ?`
  const text = `SELECT json_group_array(id) AS ids, max(id) AS last, sum(${bytes}) AS bytes FROM (${matching})`
  for (let limit = PAGE_ROWS; ; limit = Math.ceil(limit / 4)) {
    const bindings: Binding[] = [...where.bindings, after, limit]
    const [page] = await sql.all<Page>(text, bindings)
    if (page && (page.last === null || page.bytes <= MAX_PAGE_BYTES || limit === 1)) return page
  }
}

/**
 * Whether some index holds the matching rows in id order. Any other filter is one pass over the table: with an index
 * on a range, say, all that matches would be sorted again for each page.
 */
function inIdOrder({ ids, queue, errorType, statuses, tasks }: TaskFilter): boolean {
  const oneTask = tasks?.length === 1 && !/[*?[]/.test(tasks[0] ?? '')
  return ids !== undefined || queue !== undefined || errorType !== undefined || statuses?.length === 1 || oneTask
}

function writerOf({ format, excelSafe = false }: ExportOptions, fields: readonly TaskField[]): Writer {
  switch (format) {
    case 'json':
      return {
        line: objectOf(fields),
        opening: '[',
        closing: '\n]\n',
        lines: (lines, first) => `${first ? '' : ','}\n${lines.join(',\n')}`,
      }
    case 'ndjson':
      return { line: objectOf(fields), opening: '', closing: '', lines: (lines) => `${lines.join('\n')}\n` }
    case 'csv':
      return table(fields, ',', excelSafe)
    case 'tsv':
      return table(fields, '\t', excelSafe)
  }
}

function table(fields: readonly TaskField[], delimiter: string, excelSafe: boolean): Writer {
  // a line with nothing in it would be no row to many readers
  const options = { delimiter, escape_formulas: excelSafe, quoted_empty: fields.length === 1 }
  const lines = (lines: readonly string[]): string =>
    stringify(
      lines.map((line) => JSON.parse(line)),
      options,
    )
  return { line: cellsOf(fields), opening: stringify([[...fields]], options), closing: '', lines }
}
