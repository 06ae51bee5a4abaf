import type SqliteDatabase from 'better-sqlite3'
import type { Database } from '../../src/lib/database/database.js'

/** What goes wrong with one statement: it is not executed, it is but its answer is lost, or another process holds the lock. */
export type Fault = 'before' | 'after' | 'busy'

const failure = (fault: Fault): Error => {
  const [message, code] = fault === 'busy' ? ['database is locked', 'SQLITE_BUSY'] : ['disk I/O error', 'SQLITE_IOERR']
  return Object.assign(new Error(message), { code })
}

/** The statements of a connection, counted, and one of them made to fail. Everything else about it is the real one. */
export class FaultyConnection {
  /** The statements since `count` or `arm`. */
  ran: string[] = []
  /** The statement that failed. */
  failed: string | null = null
  private armed: { readonly at: number; readonly fault: Fault } | null = null

  /** Puts itself between a database and its driver. */
  static async of(database: Database): Promise<FaultyConnection> {
    const faulty = new FaultyConnection()
    const raw = (await database.knex.client.acquireConnection()) as SqliteDatabase.Database
    const { prepare, exec } = raw
    raw.prepare = ((text: string) => faulty.watch(prepare.call(raw, text), text)) as typeof raw.prepare
    raw.exec = (text) => faulty.step(text, () => exec.call(raw, text))
    await database.knex.client.releaseConnection(raw)
    Reflect.set(database['engine'], 'connection', null) // it keeps statements that were prepared before
    return faulty
  }

  /** Counts anew, and has nothing fail. */
  count(): void {
    this.ran = []
    this.failed = null
    this.armed = null
  }

  /** Has the `at`-th statement from now on fail, counted from 0, and only that. */
  arm(at: number, fault: Fault): void {
    this.count()
    this.armed = { at, fault }
  }

  private watch(statement: SqliteDatabase.Statement, text: string): SqliteDatabase.Statement {
    return new Proxy(statement, {
      get: (target, key) => {
        const value: unknown = Reflect.get(target, key)
        if (typeof value !== 'function') return value
        return key === 'run' || key === 'all'
          ? (...bindings: unknown[]) => this.step(text, () => value.apply(target, bindings))
          : value.bind(target)
      },
    })
  }

  private step<T>(text: string, execute: () => T): T {
    const due = this.armed?.at === this.ran.length ? this.armed : null
    this.ran.push(text)
    if (!due) return execute()
    this.failed = text
    if (due.fault === 'after') execute()
    throw failure(due.fault)
  }
}
