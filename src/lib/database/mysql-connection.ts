import type { Connection } from 'mysql2'
import { MYSQL } from './mysql-dialect.js'
import { gaveWay } from './mysql-failure.js'
import type { Binding, Sql } from './sql.js'

/** A literal, a list's place, or a value's. */
const PLACE = /'[^']*'|\?\*|\?/g

/** A list with nothing in it: IN () is not to be written. */
const NOTHING = 'SELECT NULL FROM DUAL WHERE FALSE'

const NUMBERS: readonly string[] = ['TINY', 'SHORT', 'INT24', 'LONG', 'LONGLONG', 'DECIMAL', 'NEWDECIMAL', 'FLOAT', 'DOUBLE']

/** Rows as SQLite answers them: numbers, texts and nulls, whatever the caller's connection makes of them. */
function plain(field: { readonly type: string; string(): string | null }): string | number | null {
  const text = field.string()
  return text !== null && NUMBERS.includes(field.type) ? Number(text) : text
}

/** Columns of numbers are whole; an instant with a fraction is the next millisecond, never one too early. */
const stored = (value: Binding): Binding => (typeof value === 'number' ? Math.ceil(value) : value)

/** Where a message quotes a value, or a piece of a statement with values in it. */
const QUOTED = /(Duplicate entry|(?:Truncated i|I)ncorrect \w+ value:|to use near) '.*'( for key | for column | at )/s

/** One connection, by MySQL's text protocol: nothing is prepared, so nothing is left behind on the server. */
export class MysqlConnection implements Sql {
  readonly dialect = MYSQL
  private last: Promise<unknown> = Promise.resolve()
  private rolledBack: unknown = null

  constructor(
    private readonly client: Connection,
    /** What the server takes in one packet. */
    private readonly maxBytes = Number.POSITIVE_INFINITY,
  ) {}

  /** Resolves once no statement is under way any more. */
  async idle(): Promise<void> {
    await this.last
  }

  /** @throws the error with which the server has rolled back the whole transaction, if somebody passed it over */
  checkWhole(): void {
    if (this.rolledBack) throw this.rolledBack
  }

  all<Row>(text: string, bindings: readonly Binding[]): Promise<Row[]> {
    return this.query(text, bindings) as Promise<Row[]>
  }

  async run(text: string, bindings: readonly Binding[]): Promise<number> {
    const result = (await this.query(text, bindings)) as { readonly affectedRows?: number }
    return result.affectedRows ?? 0
  }

  /** One statement after the other, however many are asked for at one time; none after the transaction it belongs to is gone. */
  private query(text: string, bindings: readonly Binding[]): Promise<unknown> {
    const asked = this.last.then(() => this.send(this.withValues(text, bindings)))
    this.last = asked.catch((error) => {
      if (gaveWay(error)) this.rolledBack = error
    })
    return asked
  }

  private send(sql: string): Promise<unknown> {
    this.checkWhole()
    this.checkSize(sql)
    return new Promise((resolve, reject) => {
      this.client.query({ sql, typeCast: plain as never }, (error: unknown, rows: unknown) =>
        error ? reject(withoutValues(error)) : resolve(rows),
      )
    })
  }

  private withValues(text: string, bindings: readonly Binding[]): string {
    let next = 0
    return text.replaceAll(PLACE, (found) => {
      if (found.startsWith("'")) return found
      const value = bindings[next++] ?? null
      return found === '?' ? this.client.escape(stored(value)) : this.listed(String(value))
    })
  }

  private listed(list: string): string {
    const values = JSON.parse(list) as Binding[]
    return values.length === 0 ? NOTHING : values.map((value) => this.client.escape(value)).join(', ')
  }

  /** A server ends the connection of who sends more than it takes, which would look as if it had gone away. */
  private checkSize(sql: string): void {
    if (sql.length * 3 < this.maxBytes) return
    const bytes = Buffer.byteLength(sql)
    if (bytes >= this.maxBytes) throw Object.assign(new Error(`a statement of ${bytes} bytes`), { errno: 1153 })
  }
}

/** What MySQL tells besides its message is the whole statement, and what it quotes after these words a value. */
function withoutValues(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  for (const field of ['sql', 'sqlMessage']) Reflect.deleteProperty(error, field)
  const { message } = error
  error.message = message.replace(QUOTED, '$1 …$2')
  if (error.stack) error.stack = error.stack.replace(message, () => error.message)
  return error
}
