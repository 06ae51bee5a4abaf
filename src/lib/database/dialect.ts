/** A condition, and what is bound to its one question mark. */
export interface Condition {
  readonly text: string
  readonly binding: string
}

/** The few words in which databases differ; all else is one text for every database. A list is bound as a JSON array of texts. */
export interface Dialect {
  readonly name: 'sqlite' | 'postgres'
  /** Whether the column is one of a bound list. */
  among(column: string): string
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
  /** The object in a text column with the fields of a bound one in it. */
  patched(column: string): string
  /** `*` any text, `?` one character, `[…]` one of these; upper and lower case differ. */
  glob(column: string, pattern: string): Condition
  /** The larger of two numbers. */
  readonly greatest: string
  /** The column, where no index is to be chosen for it. */
  unindexed(column: string): string
  /** Ends a SELECT of rows that nobody may change until the commit. Empty where one commit at a time writes. */
  readonly locked: string
  /** Ends a SELECT of rows to claim: those that another commit is about to claim are left out. */
  readonly claimed: string
  /** `= …` for an id among those that a SELECT chooses, which is asked once. */
  chosen(select: string): string
  /** Whether there is a table of a bound name: a row, or none. */
  readonly hasTable: string
}
