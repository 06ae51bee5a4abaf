import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Kind } from '../helpers/interrupted.js'
import { ROOT } from '../helpers/run.js'
import { type Case, casesOf, type Engine, shown } from './cases.js'
import type { Line } from './interruption.js'

export const PAGE = join(ROOT, 'docs', 'delivery-guarantees.md')

const TASKS: Record<Kind, string> = {
  early: 'early ack',
  late: 'late ack',
  limited: 'early ack, rate-limited',
  retrying: 'to be retried',
  scheduled: 'scheduled',
  expired: 'expired',
  held: 'late ack',
  lost: 'lost before',
  revoked: 'to be revoked',
  finished: 'finished',
  chained: 'late ack, in a chain',
  chord: 'last of a chord',
  erring: 'with an errback',
  waiting: 'in a chord, silent',
}

/** A Markdown table whose columns are as wide as what is in them. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = head.map((_, i) => Math.max(...[head, ...rows].map((row) => row[i]?.length ?? 0)))
  const text = (row: readonly string[]) => `| ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' | ')} |`
  return [text(head), `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`, ...rows.map(text)]
}

/** A line of the page's tables. */
export interface Shown {
  /** As code. */
  readonly point: string
  readonly task: string
  readonly faults: readonly string[]
  readonly left: string
  readonly found: string
  readonly after: string
}

/** What a case showed, in the words of the page; null: nothing. */
export function cellsOf({ point, kind, fault }: Case, line: Line | Error | undefined): Shown | null {
  if (!line || line instanceof Error) return null
  const { left, found, after } = line
  return { point: `\`${point}\``, task: TASKS[kind], faults: [fault], left, found, after }
}

const headOf = ({ name }: Engine): string => `### ${name[0]?.toUpperCase()}${name.slice(1)}`

/** A table under its head. */
export const sectionOf = (engine: Engine, lines: ReadonlyMap<string, Line | Error>): string[] => [
  headOf(engine),
  '',
  ...tableOf(casesOf(engine), lines),
  '',
]

/** The lines of an engine's table as the page has them. */
export function rowsOf(engine: Engine): Shown[] {
  const page = readFileSync(PAGE, 'utf8')
  const begin = page.indexOf(headOf(engine)) + headOf(engine).length
  const text = page.slice(begin, page.indexOf('\n\n', begin + 2))
  const rows = text.trim().split('\n').slice(2)
  return rows.map((row) => {
    const [, point = '', task = '', faults = '', left = '', found = '', after = ''] = row.split('|').map((cell) => cell.trim())
    return { point, task, faults: faults.split(', '), left, found, after }
  })
}

/** One line for all faults that show the same. */
export function tableOf(cases: readonly Case[], lines: ReadonlyMap<string, Line | Error>): string[] {
  const merged = new Map<string, Shown>()
  for (const one of cases) {
    const cells = cellsOf(one, lines.get(shown(one)))
    if (!cells) continue
    const key = JSON.stringify({ ...cells, faults: null })
    merged.set(key, { ...cells, faults: [...(merged.get(key)?.faults ?? []), ...cells.faults] })
  }
  const rows = [...merged.values()].map(({ point, task, faults, left, found, after }) => [
    point,
    task,
    faults.join(', '),
    left,
    found,
    after,
  ])
  return table(['failpoint', 'task', 'fault', 'left behind', 'found by', 'in the end'], rows)
}

/** The page with this between the mark that says `written by` it and the next `end`. */
export function pageWith(mark: string, text: readonly string[]): string {
  const page = readFileSync(PAGE, 'utf8')
  const begin = page.indexOf(mark) + mark.length
  return `${page.slice(0, begin)}\n\n${text.join('\n')}\n${page.slice(page.indexOf('<!-- end -->', begin))}`
}
