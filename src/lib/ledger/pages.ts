import { setImmediate as turn } from 'node:timers/promises'
import type { Sql } from '../database/sql.js'
import { type TaskFilter, whereOf } from './filter.js'
import type { StoredRow } from './row.js'

/** How rows become text. */
export interface PageLayout {
  /** For SQLite: an SQL expression for one row as JSON. */
  readonly row: string
  /** The same of a row that was read. */
  readonly line: (row: StoredRow) => string
  /** What stands in front of a page's rows, between them and after them. */
  lead(first: boolean): string
  readonly separator: string
  readonly end: string
}

/** Few, because SQLite and writers are at their best with texts below 128 KB. */
const PAGE_ROWS = 100

/** A larger row comes alone, so that the memory an export takes does not depend on what tasks are given. */
const LARGE_ROW_BYTES = 40_000

/** Rows of an export, as text. */
export interface Page {
  /** The id of its last row; null: no row is left. */
  readonly last: number | null
  readonly rows: number
  /** The rows but the large ones; a string from a file that is not in UTF-8. */
  readonly text: Buffer | string
}

/** Every row that matches, in id order, page by page. */
export const pagesOf = (sql: Sql, filter: TaskFilter, layout: PageLayout): AsyncGenerator<Page> =>
  sql.dialect.name === 'sqlite' ? madeBySqlite(sql, filter, layout) : madeHere(sql, filter, layout)

/** The text columns that may be long, and what the others of a row come to. */
const BYTES = `700 + ${['args', 'kwargs', 'result', 'error_message', 'traceback', 'options', 'meta'].map((name) => `coalesce(octet_length(${name}), 0)`).join(' + ')}`

/** The database says how long rows are and hands over no more than make a page. */
async function* madeHere(sql: Sql, filter: TaskFilter, { line, lead, separator, end }: PageLayout): AsyncGenerator<Page> {
  const where = whereOf(filter, sql.dialect)
  for (let after = 0; ; ) {
    const rows = await sql.all<StoredRow>(
      `SELECT * FROM (SELECT page.*, sum(bytes) OVER (ORDER BY id) - bytes AS ahead
          FROM (SELECT task_result.*, ${BYTES} AS bytes FROM task_result WHERE ${where.text} AND id > ? ORDER BY id LIMIT ${PAGE_ROWS}) AS page) AS sized
        WHERE ahead < ${LARGE_ROW_BYTES} ORDER BY id`,
      [...where.bindings, after],
    )
    const last = rows.at(-1)?.id
    if (last === undefined) return
    yield { last, rows: rows.length, text: `${lead(after === 0)}${rows.map(line).join(separator)}${end}` }
    after = last
  }
}

/** SQLite makes the whole text of a page. */
async function* madeBySqlite(sql: Sql, filter: TaskFilter, { row, lead, separator, end }: PageLayout): AsyncGenerator<Page> {
  const where = whereOf(filter, sql.dialect)
  const table = `task_result ${inIdOrder(filter) ? '' : 'NOT INDEXED'}`
  const joined = '? || group_concat(line, ?) FILTER (WHERE octet_length(line) <= ?) || ?'
  const text = (await isUtf8(sql)) ? `CAST(${joined} AS BLOB)` : joined
  let limit = PAGE_ROWS
  for (let after = 0; ; ) {
    const atMost = limit === 1 ? Number.MAX_SAFE_INTEGER : LARGE_ROW_BYTES
    // the subquery hands its rows over in its own order, so the text has that order too; with a bound LIMIT, SQLite
    // would prepare the statement anew for every page
    const [page] = await sql.all<Page & { readonly largest: number }>(
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
