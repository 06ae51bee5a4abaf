import type { Dialect } from './dialect.js'

export type Binding = string | number | null

/** Where a statement runs: by itself, inside a commit that others share, or inside the caller's own transaction. */
export interface Sql {
  /** The words of the database the statement is for. */
  readonly dialect: Dialect
  all<Row>(text: string, bindings: readonly Binding[]): Promise<Row[]>
  /** The number of rows changed. */
  run(text: string, bindings: readonly Binding[]): Promise<number>
}
