import type { PostgresConnection } from './postgres-connection.js'
import { POSTGRES } from './postgres-dialect.js'
import type { Binding, Sql } from './sql.js'

/** A statement that waits to be sent: one that answers rows, or one for each of many bindings. */
interface Asked {
  readonly text: string
  readonly many: readonly (readonly Binding[])[]
  readonly rows: boolean
  readonly resolve: (answer: never) => void
  readonly reject: (error: unknown) => void
}

/**
 * A commit in which several works are under way at one time. What they ask for meanwhile is sent together: the same statement of
 * several of them is one for all of their bindings, so that a commit of a hundred works takes as long as one of a few.
 *
 * The works must not touch each other's rows: of two that change one row by the same statement only one does.
 */
export class Batch implements Sql {
  readonly dialect = POSTGRES
  private asked: Asked[] = []
  private sending: Promise<void> | null = null

  constructor(private readonly sql: PostgresConnection) {}

  all<Row>(text: string, bindings: readonly Binding[]): Promise<Row[]> {
    return this.ask<Row[]>(text, [bindings], true)
  }

  async run(text: string, bindings: readonly Binding[]): Promise<number> {
    return (await this.each(text, [bindings]))[0] ?? 0
  }

  each(text: string, many: readonly (readonly Binding[])[]): Promise<number[]> {
    return this.ask<number[]>(text, many, false)
  }

  private ask<T>(text: string, many: Asked['many'], rows: boolean): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.asked.push({ text, many, rows, resolve, reject })
      this.sending ??= this.send()
    })
  }

  private async send(): Promise<void> {
    while (this.asked.length > 0) {
      await new Promise((resolve) => setImmediate(resolve)) // let every work get as far as it can
      const asked = this.asked.splice(0)
      for (const one of asked) if (one.rows) await this.sql.all(one.text, one.many[0] ?? []).then(one.resolve as never, one.reject)
      for (const same of byText(asked.filter(({ rows }) => !rows))) await this.answer(same)
    }
    this.sending = null
  }

  /** A failed statement ends the commit, so those after it fail as well, and each tells its own work. */
  private async answer(same: readonly Asked[]): Promise<void> {
    const all = same.flatMap(({ many }) => many)
    try {
      const changed = (await this.sql.each(same[0]?.text ?? '', all)).values()
      for (const { many, resolve } of same) resolve(many.map(() => changed.next().value) as never)
    } catch (error) {
      for (const { reject } of same) reject(error)
    }
  }
}

function byText(asked: readonly Asked[]): Iterable<Asked[]> {
  const groups = new Map<string, Asked[]>()
  for (const one of asked) {
    const group = groups.get(one.text)
    if (group) group.push(one)
    else groups.set(one.text, [one])
  }
  return groups.values()
}
