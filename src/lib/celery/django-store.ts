import { update } from '../database/change.js'
import type { Sql } from '../database/sql.js'
import { ConfigurationError } from '../task/errors.js'
import { type ChordEnd, chordEnd, leafIds, type MemberEnd, unreadable } from './chord.js'
import { type CeleryEnd, dateDone, isReady, tupleOf } from './result-form.js'
import type { WithinStore } from './store.js'

const RESULTS = 'django_celery_results_taskresult'
const CHORDS = 'django_celery_results_chordcounter'

/** Results asked for in one statement. */
const ASKED = 500

/** The tables of django-celery-results, in the ledger's own database. */
export class DjangoStore implements WithinStore {
  readonly kind = 'within'
  readonly counts = true

  private constructor() {}

  /** @throws {ConfigurationError} when the tables are not there */
  static async open(sql: Sql): Promise<DjangoStore> {
    for (const table of [RESULTS, CHORDS]) {
      await sql.all(`SELECT 1 FROM ${table} LIMIT 1`, []).catch((cause: unknown) => {
        throw new ConfigurationError(`celeryResults: the ledger's database has no table ${table} to store results in`, {
          cause,
          hint: 'run manage.py migrate of a Django project with django_celery_results on this database, or name a redis: URL',
        })
      })
    }
    return new DjangoStore()
  }

  takes(): boolean {
    return true
  }

  /** Only the first end of a member counts in its chord: somebody else may have had its message, and have told it before. */
  async store(sql: Sql, end: CeleryEnd): Promise<ChordEnd | null> {
    const before = await statusOf(sql, end.taskId)
    if (before === 'SUCCESS' || (end.status === 'RETRY' && isReady(before))) return null
    await storeResult(sql, end)
    return end.chord && end.groupId !== null && !isReady(before) ? count(sql, end.groupId) : null
  }

  async close(): Promise<void> {}
}

async function statusOf(sql: Sql, taskId: string): Promise<string> {
  const [row] = await sql.all<{ status: string }>(`SELECT status FROM ${RESULTS} WHERE task_id = ?`, [taskId])
  return row?.status ?? 'PENDING'
}

/** Django reads instants with an offset in every database, but for MySQL, whose datetimes have none. */
const stored = ({ dialect }: Sql, at: number): string => `${dateDone(at).replace('T', ' ')}${dialect.name === 'mysql' ? '' : '+00:00'}`

const COLUMNS = [
  'task_id',
  'task_name',
  'status',
  'content_type',
  'content_encoding',
  'result',
  'traceback',
  'meta',
  'date_created',
  'date_done',
] as const

const CHANGED = COLUMNS.filter((column) => column !== 'task_id' && column !== 'date_created')

const INSERT = `INSERT INTO ${RESULTS} (${COLUMNS.join(', ')}) VALUES (${COLUMNS.map(() => '?').join(', ')})`

async function storeResult(sql: Sql, { taskId, task, status, result, traceback, children, at }: CeleryEnd): Promise<void> {
  const meta = JSON.stringify({ children: children.map(tupleOf) })
  const text = JSON.stringify(result)
  const { upsert, excluded } = sql.dialect
  const changed = CHANGED.map((column) => `${column} = ${excluded(column)}`).join(', ')
  const instant = stored(sql, at)
  const bindings = [taskId, task, status, 'application/json', 'utf-8', text, traceback, meta, instant, instant]
  await sql.run(`${INSERT} ${upsert('task_id')} ${changed}`, bindings)
}

/** Celery's own counter; whoever brings it to 0 sends the body. */
async function count(sql: Sql, groupId: string): Promise<ChordEnd | null> {
  const counters = { table: CHORDS, key: 'group_id', where: 'group_id = ? AND count > 0', bindings: [groupId] }
  const arrival = { set: 'count = count - 1', bindings: [] }
  const [counter] = await update<{ count: number; sub_tasks: string }>(sql, counters, arrival, 'count, sub_tasks')
  if (!counter || Number(counter.count) > 0) return null
  await sql.run(`DELETE FROM ${CHORDS} WHERE group_id = ?`, [groupId])
  try {
    const members: unknown = JSON.parse(counter.sub_tasks)
    const ends = await endsOf(sql, leafIds(members))
    return chordEnd(members, (taskId) => ends.get(taskId) ?? null)
  } catch (error) {
    if (error instanceof SyntaxError) return unreadable(groupId)
    throw error
  }
}

async function endsOf(sql: Sql, taskIds: readonly string[]): Promise<ReadonlyMap<string, MemberEnd>> {
  const ends = new Map<string, MemberEnd>()
  for (let from = 0; from < taskIds.length; from += ASKED) {
    const asked = taskIds.slice(from, from + ASKED)
    const rows = await sql.all<{ task_id: string; status: string; result: string | null; content_type: string }>(
      `SELECT task_id, status, result, content_type FROM ${RESULTS} WHERE task_id IN (${asked.map(() => '?').join(', ')})`,
      asked,
    )
    for (const row of rows) {
      const end = row.content_type === 'application/json' ? readEnd(row.status, row.result) : null
      if (end) ends.set(row.task_id, end)
    }
  }
  return ends
}

/** Python may write numbers that JSON does not have: such a result cannot be read here. */
function readEnd(status: string, result: string | null): MemberEnd | null {
  try {
    return { status, result: result === null ? null : JSON.parse(result) }
  } catch {
    return null
  }
}
