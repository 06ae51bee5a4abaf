import type { Knex } from 'knex'

export type Binding = string | number | null

/** Where a statement runs: by itself, inside a commit that others share, or inside the caller's own transaction. */
export interface Sql {
  all<Row>(text: string, bindings: readonly Binding[]): Promise<Row[]>
  /** The number of rows changed. */
  run(text: string, bindings: readonly Binding[]): Promise<number>
}

/** The caller's own knex transaction. What runs here is there only once the caller commits. */
export function sqlOfTransaction(trx: Knex.Transaction): Sql {
  return {
    all: async <Row>(text: string, bindings: readonly Binding[]) => (await trx.raw<Row[]>(text, [...bindings])) as Row[],
    run: async (text, bindings) => (await trx.raw<{ changes: number }>(text, [...bindings])).changes,
  }
}
