import { type Binding, runEach, type Sql } from './sql.js'

/** Rows that are to be changed: all that meet a condition, or the first of them in an order. */
export interface Chosen {
  readonly table: string
  /** What a row of it is known by. */
  readonly key: string
  readonly where: string
  /** The index of the table that leads to them. */
  readonly index?: string
  /** `ORDER BY … LIMIT ?`, or nothing: rows that another commit is about to change are then left out, and not waited for. */
  readonly first?: string
  readonly bindings: readonly Binding[]
}

/** What becomes of them. */
export interface Change {
  readonly set: string
  readonly bindings: readonly Binding[]
}

/** Changes the chosen rows and tells how many they were. */
export async function change(sql: Sql, rows: Chosen, { set, bindings }: Change): Promise<number> {
  const { table, key } = rows
  if (sql.dialect.returning) return sql.run(`UPDATE ${table} SET ${set} WHERE ${condition(sql, rows)}`, [...bindings, ...rows.bindings])
  const keys = await lockKeys(sql, rows)
  return keys === null ? 0 : sql.run(`UPDATE ${table} SET ${set} WHERE ${sql.dialect.among(key)}`, [...bindings, keys])
}

/** Changes the chosen rows and answers them as they are then. Where that takes several statements, they are to be in one transaction. */
export async function update<Row>(sql: Sql, rows: Chosen, { set, bindings }: Change, columns: string): Promise<Row[]> {
  const { table, key } = rows
  if (sql.dialect.returning) {
    return sql.all(`UPDATE ${table} SET ${set} WHERE ${condition(sql, rows)} RETURNING ${columns}`, [...bindings, ...rows.bindings])
  }
  const keys = await lockKeys(sql, rows)
  if (keys === null) return []
  const these = sql.dialect.among(key)
  await sql.run(`UPDATE ${table} SET ${set} WHERE ${these}`, [...bindings, keys])
  return sql.all(`SELECT ${columns} FROM ${table} WHERE ${these}`, [keys])
}

/** Deletes the chosen rows and answers them as they were. */
export async function remove<Row>(sql: Sql, rows: Chosen, columns: string): Promise<Row[]> {
  const { table, key } = rows
  if (sql.dialect.returning) return sql.all(`DELETE FROM ${table} WHERE ${condition(sql, rows)} RETURNING ${columns}`, rows.bindings)
  const keys = await lockKeys(sql, rows)
  if (keys === null) return []
  const these = sql.dialect.among(key)
  const gone = await sql.all<Row>(`SELECT ${columns} FROM ${table} WHERE ${these}`, [keys])
  await sql.run(`DELETE FROM ${table} WHERE ${these}`, [keys])
  return gone
}

/** Writes a row unless one of the same key is there. `insert` is the whole statement but for that. */
export async function insertIfNew(sql: Sql, insert: string, key: string, bindings: readonly Binding[]): Promise<boolean> {
  const { isTaken } = sql.dialect
  if (!isTaken) return (await sql.run(`${insert} ON CONFLICT (${key}) DO NOTHING`, bindings)) === 1
  try {
    return (await sql.run(insert, bindings)) === 1
  } catch (error) {
    if (isTaken(error)) return false
    throw error
  }
}

/** The same for many. Answers for each whether it was written; of two of one key, one is. */
export async function insertEachIfNew(sql: Sql, insert: string, key: string, many: readonly (readonly Binding[])[]): Promise<boolean[]> {
  if (!sql.dialect.isTaken) return (await runEach(sql, `${insert} ON CONFLICT (${key}) DO NOTHING`, many)).map((written) => written === 1)
  const written: boolean[] = []
  for (const bindings of many) written.push(await insertIfNew(sql, insert, key, bindings))
  return written
}

const condition = ({ dialect: { chosen, claimed } }: Sql, { table, key, where, first }: Chosen): string =>
  first === undefined ? where : `${key} ${chosen(`SELECT ${key} FROM ${table} WHERE ${where} ${first}${claimed}`)}`

const source = ({ dialect: { via } }: Sql, { table, index }: Chosen): string => (index === undefined ? table : via(table, index))

/** Whether there are such rows. */
export async function isAny(sql: Sql, rows: Chosen): Promise<boolean> {
  const { where, first = '', bindings } = rows
  return (await sql.all(`SELECT 1 FROM ${source(sql, rows)} WHERE ${where} ${first}`, bindings)).length > 0
}

/** Has the chosen rows to this transaction, and answers them. */
export function lock<Row>(sql: Sql, rows: Chosen, columns: string): Promise<Row[]> {
  const { claimed, locked } = sql.dialect
  const { where, first, bindings } = rows
  const rest = first === undefined ? locked : ` ${first}${claimed}`
  return sql.all<Row>(`SELECT ${columns} FROM ${source(sql, rows)} WHERE ${where}${rest}`, bindings)
}

/** The same, but answers their keys as a list to bind; null: there are none. */
export async function lockKeys(sql: Sql, rows: Chosen): Promise<string | null> {
  const found = await lock<Record<string, Binding>>(sql, rows, rows.key)
  return found.length === 0 ? null : JSON.stringify(found.map((row) => row[rows.key]))
}
