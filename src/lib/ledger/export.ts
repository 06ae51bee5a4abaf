import { setImmediate as turn } from 'node:timers/promises'
import { stringify } from 'csv-stringify/sync'
import type { Sql } from '../database/sql.js'
import { cellsOf, objectOf, TASK_FIELDS, type TaskField, taskFields } from './fields.js'
import { type TaskFilter, whereOf } from './filter.js'

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

/** How SQLite is asked for the rows of a format, and what is made of its answer. */
interface Layout {
  /** An SQL expression for one row as JSON. */
  readonly row: string
  /** What SQLite puts in front of a page's rows, between them and after them. */
  lead(first: boolean): string
  readonly separator: string
  readonly end: string
  readonly head: string
  /** Default: as SQLite made them. */
  page?(rows: Buffer): Buffer
  readonly foot: string
}

/** Few, because SQLite and writers are at their best with texts below 128 KB. */
const PAGE_ROWS = 100

/** A larger row comes alone, so that the memory an export takes does not depend on what tasks are given. */
const LARGE_ROW_BYTES = 40_000

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
      return { row: objectOf(fields), lead, separator: ',\n', end: '', head: '[', foot: '\n]\n' }
    }
    case 'ndjson':
      return { row: objectOf(fields), lead: () => '', separator: '\n', end: '\n', head: '', foot: '' }
    case 'csv':
      return tableLayout(fields, ',', excelSafe)
    case 'tsv':
      return tableLayout(fields, '\t', excelSafe)
  }
}

function tableLayout(fields: readonly TaskField[], delimiter: string, excelSafe: boolean): Layout {
  // one column: an empty line would be no row to many readers
  const options = { delimiter, escape_formulas: excelSafe, quoted_empty: fields.length === 1 }
  const page = (rows: Buffer) => Buffer.from(stringify(JSON.parse(rows.toString()), options))
  return { row: cellsOf(fields), lead: () => '[', separator: ',', end: ']', head: stringify([[...fields]], options), page, foot: '' }
}

async function* chunks(sql: Sql, filter: TaskFilter, layout: Layout): AsyncGenerator<ExportChunk> {
  const { head, page = (rows: Buffer) => rows, foot } = layout
  if (head) yield { bytes: Buffer.from(head), rows: 0 }
  for await (const { text, rows } of pages(sql, filter, layout)) {
    yield { bytes: page(Buffer.isBuffer(text) ? text : Buffer.from(text)), rows }
  }
  if (foot) yield { bytes: Buffer.from(foot), rows: 0 }
}

interface Page {
  /** The id of its last row; null: no row is left. */
  readonly last: number | null
  readonly rows: number
  readonly largest: number
  /** The rows but the large ones; a string from a file that is not in UTF-8. */
  readonly text: Buffer | string
}

async function* pages(sql: Sql, filter: TaskFilter, { row, lead, separator, end }: Layout): AsyncGenerator<Page> {
  const where = whereOf(filter)
  const table = `task_result ${inIdOrder(filter) ? '' : 'NOT INDEXED'}`
  const joined = '? || group_concat(line, ?) FILTER (WHERE octet_length(line) <= ?) || ?'
  const text = (await isUtf8(sql)) ? `CAST(${joined} AS BLOB)` : joined
  let limit = PAGE_ROWS
  for (let after = 0; ; ) {
    const atMost = limit === 1 ? Number.MAX_SAFE_INTEGER : LARGE_ROW_BYTES
    // the subquery hands its rows over in its own order, so the text has that order too; with a bound LIMIT, SQLite
    // would prepare the statement anew for every page
    const [page] = await sql.all<Page>(
      `SELECT max(id) AS last, count(*) AS rows, max(octet_length(line)) AS largest,
              ${text} AS text
         FROM (SELECT id, ${row} AS line FROM ${table} WHERE ${where.text} AND id > ? ORDER BY id LIMIT ${limit})`,
      [lead(after === 0), separator, atMost, end, ...where.bindings, after],
    )
    if (!page || page.last === null) return
    if (page.largest > atMost) {
      limit = Math.ceil(limit / 4)
    } else {
      yield page
      await turn() // SQLite answers at once: without this nothing else of the process would run, not even what frees written chunks
      after = page.last
      limit = Math.min(limit * 2, PAGE_ROWS)
    }
  }
}

/** Whether a text cast to BLOB is UTF-8: as such it can be written as it is, instead of being decoded and encoded again. */
async function isUtf8(sql: Sql): Promise<boolean> {
  const [database] = await sql.all<{ encoding: string }>('PRAGMA encoding', [])
  return database?.encoding === 'UTF-8'
}

/**
 * Whether some index holds the matching rows in id order. Any other filter is one pass over the table: with an index
 * on a range, say, all that matches would be sorted again for each page.
 */
function inIdOrder({ ids, queue, errorType, statuses, tasks }: TaskFilter): boolean {
  const oneTask = tasks?.length === 1 && !/[*?[]/.test(tasks[0] ?? '')
  return ids !== undefined || queue !== undefined || errorType !== undefined || statuses?.length === 1 || oneTask
}
