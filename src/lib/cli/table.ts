import { printable } from './printable.js'

export interface Column<Row> {
  readonly heading: string
  readonly value: (row: Row) => string
  /** Colours the finished text; it comes without control characters and must keep its width. */
  readonly paint?: (text: string, row: Row) => string
  readonly align?: 'right'
  /** Gives way, with an ellipsis, when the table is wider than the screen. */
  readonly shrinks?: boolean
}

const NO_LINES = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  ',
}

const GAP = NO_LINES.middle.length
const NARROWEST = 8

/** `rows` under their headings, no lines around them, at most `width` columns wide as far as the shrinking columns allow. */
export async function formatTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[], width: number): Promise<string> {
  const cells = rows.map((row) => columns.map((column) => printable(column.value(row))))
  const wanted = columns.map((column, i) => Math.max(column.heading.length, ...cells.map((line) => line[i]?.length ?? 0)))
  const { default: Table } = await import('cli-table3')
  const table = new Table({
    head: columns.map((column) => column.heading),
    chars: NO_LINES,
    colWidths: fitted(columns, wanted, width),
    colAligns: columns.map((column) => column.align ?? 'left'),
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0, compact: true },
  })
  rows.forEach((row, r) => {
    table.push(columns.map((column, i) => paintCell(column, row, cells[r]?.[i] ?? '')))
  })
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')
}

const paintCell = <Row>(column: Column<Row>, row: Row, text: string): string => (column.paint ? column.paint(text, row) : text)

/** Column widths: what each wants, less what the shrinking ones must give up, the widest first. */
function fitted<Row>(columns: readonly Column<Row>[], wanted: readonly number[], width: number): number[] {
  const widths = [...wanted]
  let excess = widths.reduce((sum, one) => sum + one + GAP, -GAP) - width
  while (excess > 0) {
    const shrinking = columns.flatMap((column, i) => (column.shrinks && (widths[i] ?? 0) > NARROWEST ? [i] : []))
    if (shrinking.length === 0) break
    const widest = shrinking.reduce((a, b) => ((widths[b] ?? 0) > (widths[a] ?? 0) ? b : a))
    widths[widest] = (widths[widest] ?? 0) - 1
    excess--
  }
  return widths
}
