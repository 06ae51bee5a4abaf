import type { Knex } from 'knex'
import type { Dialect } from './dialect.js'
import type { Binding, Sql } from './sql.js'

/** A piece of work for one commit. It may run twice, so it does nothing but SQL. */
export type Work<T> = (sql: Sql) => Promise<T>

/** What a program may do with a database: `read` and `write` refuse one that is not there; `create` makes it where a program can. */
export type Mode = 'read' | 'write' | 'create'

/** One kind of database: how statements reach it, and what its failures mean. Every error is told in words of `task/errors.ts`. */
export interface Engine {
  readonly knex: Knex
  readonly dialect: Dialect
  /** As a person knows it: an absolute path, `:memory:`, or a URL without its password. */
  readonly name: string
  /** The URL that a person opens it with, without its password. */
  readonly url: string
  /** New each time it is opened, and gone when it is closed. */
  readonly passing: boolean
  /** Whether commits of several programs go on at one time, and wait for each other's rows. */
  readonly concurrent: boolean
  /** How many commits of one program go on at one time. */
  readonly lanes: number
  /** How often an idle program looks for what another wrote, where nothing tells it. */
  readonly pollMs: number
  all<Row>(text: string, bindings: readonly Binding[]): Promise<Row[]>
  run(text: string, bindings: readonly Binding[]): Promise<number>
  /**
   * Does all of it in one commit, or nothing. What fails for the sake of others' commits is done again.
   *
   * @param free how many of them, the first ones, may be under way at one time. Default: none
   */
  commit(works: readonly Work<unknown>[], free?: number): Promise<unknown[]>
  /**
   * The caller's own transaction. What runs there is there only once the caller commits.
   *
   * @throws {UsageError} when it is one on another database
   */
  join(trx: Knex.Transaction): Promise<Sql>
  /** A transaction in which no other program migrates. */
  migrating<T>(use: (trx: Knex.Transaction, sql: Sql) => Promise<T>): Promise<T>
  /** A mark: what is told of after it ends a `rest` from it. */
  heard(): number
  /** Waits until another program may have published, as far as this can be known, but never so long that nobody looks. */
  rest(heard: number, signal: AbortSignal): Promise<void>
  close(): Promise<void>
}
