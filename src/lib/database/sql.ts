import type { Dialect } from './dialect.js'

export type Binding = string | number | null

/** Where a statement runs: by itself, inside a commit that others share, or inside the caller's own transaction. */
export interface Sql {
  /** The words of the database the statement is for. */
  readonly dialect: Dialect
  all<Row>(text: string, bindings: readonly Binding[]): Promise<Row[]>
  /** The number of rows changed. */
  run(text: string, bindings: readonly Binding[]): Promise<number>
  /** The same statement for each of many bindings, that change a row each, where this takes less than one by one. */
  each?(text: string, many: readonly (readonly Binding[])[]): Promise<number[]>
}

/** Runs a statement that changes a row for each of many bindings. Answers for each how many; of two that would change the same row, one may. */
export async function runEach(sql: Sql, text: string, many: readonly (readonly Binding[])[]): Promise<number[]> {
  if (sql.each) return sql.each(text, many)
  const changed: number[] = []
  for (const bindings of many) changed.push(await sql.run(text, bindings))
  return changed
}
