import { UsageError } from '../task/errors.js'
import { jsonOrText, type StoredRow, type TaskRow } from './row.js'

export type TaskField = keyof TaskRow

interface Column {
  readonly name: keyof StoredRow
  readonly holds: 'value' | 'instant' | 'json'
}

const value = (name: keyof StoredRow): Column => ({ name, holds: 'value' })
const instant = (name: keyof StoredRow): Column => ({ name, holds: 'instant' })
const json = (name: keyof StoredRow): Column => ({ name, holds: 'json' })

/** Where each field of a TaskRow is stored, in the order of an export. */
const COLUMNS: Readonly<Record<TaskField, Column>> = {
  id: value('id'),
  taskId: value('task_id'),
  task: value('task'),
  args: json('args'),
  kwargs: json('kwargs'),
  status: value('status'),
  result: json('result'),
  errorType: value('error_type'),
  errorMessage: value('error_message'),
  traceback: value('traceback'),
  queue: value('queue'),
  exchange: value('exchange'),
  routingKey: value('routing_key'),
  priority: value('priority'),
  eta: instant('eta'),
  expires: instant('expires'),
  retries: value('retries'),
  maxRetries: value('max_retries'),
  deliveries: value('deliveries'),
  workerId: value('worker_id'),
  leaseUntil: instant('lease_until'),
  scheduledId: value('scheduled_id'),
  parentId: value('parent_id'),
  rootId: value('root_id'),
  groupId: value('group_id'),
  groupIndex: value('group_index'),
  retryOf: value('retry_of'),
  periodicName: value('periodic_name'),
  options: json('options'),
  meta: json('meta'),
  submittedAt: instant('submitted_at'),
  publishedAt: instant('published_at'),
  claimedAt: instant('claimed_at'),
  startedAt: instant('started_at'),
  updatedAt: instant('updated_at'),
  finishedAt: instant('finished_at'),
  resultExpiresAt: instant('result_expires_at'),
}

export const TASK_FIELDS = Object.keys(COLUMNS) as readonly TaskField[]

/** @throws {UsageError} for a name that is no field */
export function taskFields(names: readonly string[]): TaskField[] {
  return names.map((name) => {
    const field = TASK_FIELDS.find((known) => known === name)
    if (!field) throw new UsageError(`there is no field named ${name}; the fields are ${TASK_FIELDS.join(', ')}`)
    return field
  })
}

/** `2026-11-20T14:17:37.096Z`, as Date.toISOString writes it. */
const isoText = (column: string): string => `replace(datetime(${column} / 1000.0, 'unixepoch', 'subsec'), ' ', 'T') || 'Z'`

/** Text that is no JSON becomes a JSON string, so that it spoils nothing around it. */
const jsonOf = (column: string): string => `iif(json_valid(${column}), json(${column}), json_quote(${column}))`

/** For SQLite: an SQL expression for the whole of a row as the text of one JSON object. */
export function objectOf(fields: readonly TaskField[]): string {
  const entries = fields.map((field) => {
    const { name, holds } = COLUMNS[field]
    return `'${field}', ${holds === 'instant' ? isoText(name) : holds === 'json' ? jsonOf(name) : name}`
  })
  return `json_object(${entries.join(', ')})`
}

/** For SQLite: an SQL expression for a row as the text of a JSON array of cells: numbers, texts and nulls. */
export function cellsOf(fields: readonly TaskField[]): string {
  const cells = fields.map((field) => {
    const { name, holds } = COLUMNS[field]
    return holds === 'instant' ? isoText(name) : holds === 'json' ? `iif(${name} IS NULL, NULL, ${jsonOf(name)} || '')` : name // || '': a text, no longer JSON
  })
  return `json_array(${cells.join(', ')})`
}

/** What `objectOf` has SQLite make, of a row that was read. */
export const objectText = (fields: readonly TaskField[], row: StoredRow): string =>
  JSON.stringify(
    Object.fromEntries(
      fields.map((field) => {
        const { name, holds } = COLUMNS[field]
        return [field, holds === 'json' ? jsonOrText(row[name] as string | null) : plainOf(row, COLUMNS[field])]
      }),
    ),
  )

/** What `cellsOf` has SQLite make, of a row that was read. */
export const cellsText = (fields: readonly TaskField[], row: StoredRow): string =>
  JSON.stringify(
    fields.map((field) => {
      const { name, holds } = COLUMNS[field]
      const stored = row[name]
      return holds === 'json' && stored !== null ? JSON.stringify(jsonOrText(stored as string)) : plainOf(row, COLUMNS[field])
    }),
  )

function plainOf(row: StoredRow, { name, holds }: Column): string | number | null {
  const stored = row[name]
  return holds === 'instant' && stored !== null ? new Date(stored).toISOString() : stored
}
