/** Indexes of task_result that hold some open rows only. */
export type PartialIndex = 'in_flight' | 'unpublished' | 'due' | 'rescuable' | 'claimed' | 'expiring'

/** A condition, and what is bound to its one question mark. */
export interface Condition {
  readonly text: string
  readonly binding: string
}

/** An expression, and what is bound to its question marks. */
export interface Expression {
  readonly text: string
  readonly bindings: readonly string[]
}

/** The few words in which databases differ; all else is one text for every database. A list is bound as a JSON array of texts. */
export interface Dialect {
  readonly name: 'sqlite' | 'postgres' | 'mysql'
  /** Whether the column is one of a bound list. */
  among(column: string): string
  /** The same for a column and a bound list of numbers. */
  amongNumbers(column: string): string
  /** Whether it is none of them. */
  notAmong(column: string): string
  /** What a bound list is read from, for FROM: its texts as `value`, and in the column `place` their number from 0. */
  elements(alias: string): string
  readonly place: string
  /** Whether a text column holds JSON. */
  isJson(column: string): string
  /** A field of the object in a text column, as text; null where there is none, or no JSON. */
  field(column: string, name: string): string
  /** Whether that field is true. */
  isTrue(column: string, name: string): string
  /** The object in a text column with the fields of a bound one in it. A null takes its field away, or stands for that. */
  patched(column: string, patch: string): Expression
  /** `*` any text, `?` one character, `[…]` one of these; upper and lower case differ. */
  glob(column: string, pattern: string): Condition
  /** The larger of two numbers. */
  readonly greatest: string
  /** The column, where no index is to be chosen for it. */
  unindexed(column: string): string
  /**
   * The column by which the partial index of this name is ordered. Where no index is partial, another one that holds the same for
   * the rows of that index and null for all others.
   */
  by(index: PartialIndex, column: string): string
  /** A table for FROM that is to be gone through by this index of it, where the database might think of a way that locks or reads more. */
  via(table: string, index: string): string
  /** Ends a SELECT of rows that nobody may change until the commit. Empty where one commit at a time writes. */
  readonly locked: string
  /** Ends a SELECT of rows to claim: those that another commit is about to claim are left out. */
  readonly claimed: string
  /** `= …` for an id among those that a SELECT chooses, which is asked once. */
  chosen(select: string): string
  /** A SELECT of one value of the table that is written. */
  apart(select: string): string
  /** In an INSERT: what begins the assignments to a row of this key that is there already, and the value that would have been written. */
  upsert(key: string): string
  excluded(column: string): string
  /** Whether an INSERT failed because its key is there, where it cannot be told to do nothing then; null: it can be told. */
  readonly isTaken: ((error: unknown) => boolean) | null
  /** Whether what changes rows can answer them, with RETURNING. */
  readonly returning: boolean
  /** Whether a transaction that is rolled back takes with it the tables it made. */
  readonly undoesTables: boolean
  /** Whether there is a table of a bound name: a row, or none. */
  readonly hasTable: string
}
