import type { Knex } from 'knex'
import type { Dialect } from './dialect.js'
import type { Engine, Mode, Work } from './engine.js'
import { CommitUnknownError } from './failure.js'
import { MysqlEngine } from './mysql.js'
import { PostgresEngine } from './postgres.js'
import type { Binding, Sql } from './sql.js'
import { SqliteEngine } from './sqlite.js'
import { type DatabaseUrl, parseDatabaseUrl } from './url.js'

/** What is done for many at one time: what it comes to for each item, in their order. It may run twice, so it does nothing but SQL. */
export type JointWork<Item, T> = (sql: Sql, items: readonly Item[]) => Promise<readonly T[]>

/** Who waits for what is done in a commit: a work of its own, or items of a joint one. */
interface Waiting {
  readonly work: Work<unknown> | null
  readonly joint: JointWork<unknown, unknown> | null
  readonly items: readonly unknown[]
  readonly order: string | null
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
}

interface Lane {
  done: Promise<void>
}

/** Bounds how long one commit keeps other processes from writing. */
const MAX_GROUP = 500

/**
 * The one door to the ledger's database. As a `Sql` it runs single statements, each its own commit; `write`
 * gathers what this process writes at one time into one commit.
 */
export class Database implements Sql {
  private waiting: Waiting[] = []
  /** The commits under way, each of which goes on with what has come meanwhile. */
  private readonly lanes = new Set<Lane>()

  private constructor(private readonly engine: Engine) {}

  /**
   * @param mode `read` and `write` refuse a file that is not there; `create` makes it
   * @throws {ConfigurationError} when the URL, the file or its rights are wrong, or a server refuses this user or has no such database
   * @throws {UnavailableError} when a server cannot be reached
   */
  static async open(url: string, mode: Mode, cwd = process.cwd()): Promise<Database> {
    const parsed = parseDatabaseUrl(url, cwd)
    return new Database(await openEngine(parsed, mode))
  }

  get knex(): Knex {
    return this.engine.knex
  }

  get dialect(): Dialect {
    return this.engine.dialect
  }

  /** As a person knows it: an absolute path, `:memory:`, or a URL without its password. */
  get name(): string {
    return this.engine.name
  }

  /** What a person opens it with, without a password. */
  get url(): string {
    return this.engine.url
  }

  /** New each time it is opened, and gone when it is closed. */
  get passing(): boolean {
    return this.engine.passing
  }

  /** How often an idle program looks for what another wrote, where nothing tells it. */
  get pollMs(): number {
    return this.engine.pollMs
  }

  all<Row>(text: string, bindings: readonly Binding[]): Promise<Row[]> {
    return this.engine.all<Row>(text, bindings)
  }

  run(text: string, bindings: readonly Binding[]): Promise<number> {
    return this.engine.run(text, bindings)
  }

  /**
   * Runs `work` inside a commit that concurrent callers share; the promise resolves after the commit. A work that
   * fails takes nothing with it: the group is rolled back and each work commits by itself. A commit that fails is not tried
   * again unless it is surely not written.
   *
   * @param order names the row that works of several programs change one after the other, as a group's. In one commit they
   *   are done in the order of these names, so that two programs seldom wait for each other. Null: it changes no row that another
   *   work of this program may be changing, and asks for none; such works may be under way at one time
   */
  write<T>(work: Work<T>, order: string | null = ''): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.waiting.push({ work, joint: null, items: [], order, resolve: resolve as (value: unknown) => void, reject })
      this.board()
    })
  }

  /**
   * The same, for many items: `work` is called once for all that came to it at one time, and answers for each. It changes no row that
   * another work of this program may be changing.
   *
   * @param work is to be the same function each time
   */
  writeJointly<Item, T>(work: JointWork<Item, T>, items: readonly Item[]): Promise<readonly T[]> {
    return new Promise<readonly T[]>((resolve, reject) => {
      const joint = work as JointWork<unknown, unknown>
      this.waiting.push({ work: null, joint, items, order: null, resolve: resolve as (value: unknown) => void, reject })
      this.board()
    })
  }

  /**
   * The caller's own transaction. What runs there is there only once the caller commits.
   *
   * @throws {UsageError} when it is one on another database
   */
  join(trx: Knex.Transaction): Promise<Sql> {
    return this.engine.join(trx)
  }

  /** A transaction in which no other program migrates. */
  migrating<T>(use: (trx: Knex.Transaction, sql: Sql) => Promise<T>): Promise<T> {
    return this.engine.migrating(use)
  }

  /** A mark: what is told of after it ends a `rest` from it. */
  heard(): number {
    return this.engine.heard()
  }

  /** Waits until another program may have published, for at most as long as it is right not to look. */
  rest(heard: number, signal: AbortSignal): Promise<void> {
    return this.engine.rest(heard, signal)
  }

  /** Waits for the writes under way and lets go of the database. */
  async close(): Promise<void> {
    while (this.lanes.size > 0) await Promise.all([...this.lanes].map(({ done }) => done))
    await this.engine.close()
  }

  private board(): void {
    if (this.lanes.size >= this.engine.lanes) return
    const lane: Lane = { done: Promise.resolve() }
    this.lanes.add(lane)
    lane.done = this.drain(lane)
  }

  private async drain(lane: Lane): Promise<void> {
    while (this.waiting.length > 0) {
      await new Promise((resolve) => setImmediate(resolve)) // let everybody of this turn come aboard
      const group = this.nextGroup()
      if (group.length > 0) await this.commitGroup(group) // else another lane has taken them
    }
    this.lanes.delete(lane)
  }

  private nextGroup(): Waiting[] {
    let size = 0
    let count = 0
    for (; count < this.waiting.length && size < MAX_GROUP; count++) size += this.waiting[count]?.items.length || 1
    const group = this.waiting.splice(0, count)
    return this.engine.concurrent ? group.sort(byOrder) : group
  }

  private async commitGroup(group: readonly Waiting[]): Promise<void> {
    const parts = partsOf(group)
    try {
      const works = parts.map(({ work }) => work)
      const results = await this.engine.commit(works, parts.filter(({ order }) => order === null).length)
      parts.forEach(({ answer }, i) => {
        answer(results[i])
      })
    } catch (error) {
      if (group.length === 1 || error instanceof CommitUnknownError) for (const { reject } of group) reject(error)
      else for (const one of group) await this.commitGroup([one])
    }
  }
}

/** What a commit does at one go, and who is told what it came to. */
interface Part {
  readonly work: Work<unknown>
  readonly order: string | null
  readonly answer: (result: unknown) => void
}

/** The items of a joint work are one part. */
function partsOf(group: readonly Waiting[]): Part[] {
  const parts: Part[] = []
  const together = new Map<JointWork<unknown, unknown>, Waiting[]>()
  for (const one of group) {
    const known = one.joint && together.get(one.joint)
    if (known) known.push(one)
    else if (one.joint) {
      const waiting = [one]
      together.set(one.joint, waiting)
      parts.push(jointPart(one.joint, waiting))
    } else if (one.work) parts.push({ work: one.work, order: one.order, answer: one.resolve })
  }
  return parts
}

function jointPart(joint: JointWork<unknown, unknown>, waiting: readonly Waiting[]): Part {
  return {
    work: (sql) =>
      joint(
        sql,
        waiting.flatMap(({ items }) => items),
      ),
    order: null,
    answer: (results) => {
      let from = 0
      for (const { items, resolve } of waiting) {
        resolve((results as readonly unknown[]).slice(from, from + items.length))
        from += items.length
      }
    },
  }
}

function openEngine(url: DatabaseUrl, mode: Mode): Promise<Engine> {
  switch (url.kind) {
    case 'sqlite':
      return SqliteEngine.open(url.filename, mode)
    case 'postgres':
      return PostgresEngine.open(url, mode)
    case 'mysql':
      return MysqlEngine.open(url, mode)
  }
}

/** Those without an order first. */
function byOrder({ order: a }: Waiting, { order: b }: Waiting): number {
  if (a === null || b === null) return Number(b === null) - Number(a === null)
  return a < b ? -1 : a > b ? 1 : 0
}
