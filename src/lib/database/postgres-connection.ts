import type { ClientBase, QueryResult } from 'pg'
import { POSTGRES } from './postgres-dialect.js'
import { manyOf } from './postgres-many.js'
import type { Binding, Sql } from './sql.js'

/** Texts that vary (an optional filter) would fill the cache for ever. */
const MAX_TEXTS = 1000

const numbered = new Map<string, string>()

/** The same text with PostgreSQL's `$1`, `$2` for its question marks; those in literals stay. */
function withNumbers(text: string): string {
  const known = numbered.get(text)
  if (known !== undefined) return known
  if (numbered.size >= MAX_TEXTS) numbered.clear()
  let count = 0
  const made = text.replaceAll(/'[^']*'|\?/g, (found) => (found === '?' ? `$${++count}` : found))
  numbered.set(text, made)
  return made
}

/** int8, int2, int4, oid, float4, float8, numeric */
const NUMBERS: readonly number[] = [20, 21, 23, 26, 700, 701, 1700]
const BOOLEAN = 16

const AS_NUMBER = (text: string): number => Number(text)
const AS_BIT = (text: string): number => (text === 't' ? 1 : 0)
const AS_TEXT = (text: string): string => text

/** Rows as SQLite answers them: numbers, texts and nulls; a truth is 1 or 0. */
const types = {
  getTypeParser: (oid: number) => (NUMBERS.includes(oid) ? AS_NUMBER : oid === BOOLEAN ? AS_BIT : AS_TEXT),
} as never

/**
 * PostgreSQL has no NUL in a text: it is replaced, so that a message which quotes one can be kept. In JSON it is an escape and stays.
 * Columns of numbers are whole; an instant with a fraction is the next millisecond, never one too early.
 */
function stored(value: Binding): Binding {
  if (typeof value === 'string') return value.includes('\0') ? value.replaceAll('\0', '\u{FFFD}') : value
  return typeof value === 'number' ? Math.ceil(value) : value
}

/** One connection. Its statements have no names, so that a pooler may give each transaction another one. */
export class PostgresConnection implements Sql {
  readonly dialect = POSTGRES
  private last: Promise<unknown> = Promise.resolve()

  constructor(private readonly client: ClientBase) {}

  /** Resolves once no statement is under way any more. */
  async idle(): Promise<void> {
    await this.last
  }

  async all<Row>(text: string, bindings: readonly Binding[]): Promise<Row[]> {
    return (await this.query(text, bindings)).rows as Row[]
  }

  async run(text: string, bindings: readonly Binding[]): Promise<number> {
    return (await this.query(text, bindings)).rowCount ?? 0
  }

  async each(text: string, many: readonly (readonly Binding[])[]): Promise<number[]> {
    const merged = many.length > 1 ? manyOf(text, many) : null
    if (!merged) return Promise.all(many.map((bindings) => this.run(text, bindings)))
    const { rows } = await this.query(merged.text, merged.bindings)
    const changed = new Array<number>(many.length).fill(0)
    for (const { n } of rows as { readonly n: number }[]) changed[n - 1] = 1
    return changed
  }

  /** One statement after the other, however many are asked for at one time. */
  private query(text: string, bindings: readonly (Binding | readonly Binding[])[]): Promise<QueryResult> {
    const values = bindings.map((value) => (Array.isArray(value) ? value.map(stored) : stored(value as Binding)))
    const asked = this.last.then(() => this.client.query({ text: withNumbers(text), values, types }))
    this.last = asked.catch(() => {})
    return asked.catch((error) => Promise.reject(withoutValues(error)))
  }
}

/** What PostgreSQL tells besides its message may be a whole row. */
function withoutValues(error: unknown): unknown {
  if (error instanceof Error) for (const field of ['detail', 'where', 'internalQuery']) Reflect.deleteProperty(error, field)
  return error
}
