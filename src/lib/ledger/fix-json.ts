import type { Sql } from '../database/sql.js'

export interface BareResult {
  readonly id: number
  readonly taskId: string
  readonly text: string
}

/** Results that are bare text where JSON is expected, at most `limit`, with ids above `after`; `inspected` is the last id looked at. */
export async function findBareResults(
  sql: Sql,
  after: number,
  limit: number,
): Promise<{ readonly bare: BareResult[]; readonly last: number; readonly inspected: number }> {
  const [page] = await sql.all<{ last: number | null; n: number }>(
    'SELECT max(id) AS last, count(*) AS n FROM (SELECT id FROM task_result WHERE id > ? ORDER BY id LIMIT ?) AS page',
    [after, limit],
  )
  const last = page?.last ?? after
  const bare = await sql.all<{ id: number; task_id: string; result: string }>(
    `SELECT id, task_id, result FROM task_result WHERE id > ? AND id <= ? AND result IS NOT NULL AND NOT ${sql.dialect.isJson('result')} ORDER BY id`,
    [after, last],
  )
  return { bare: bare.map((row) => ({ id: row.id, taskId: row.task_id, text: row.result })), last, inspected: page?.n ?? 0 }
}

/** Makes a bare result the JSON string it was meant as; touches nothing else, not even a time. */
export async function quoteResult(sql: Sql, { id, text }: BareResult): Promise<boolean> {
  return (await sql.run('UPDATE task_result SET result = ? WHERE id = ? AND result = ?', [JSON.stringify(text), id, text])) === 1
}
