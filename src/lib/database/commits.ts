import type { Engine, Work } from './engine.js'
import { CommitUnknownError } from './failure.js'
import type { Sql } from './sql.js'

/** What is done for many at one time: what it comes to for each item, in their order. It may run twice, so it does nothing but SQL. */
export type JointWork<Item, T> = (sql: Sql, items: readonly Item[]) => Promise<readonly T[]>

/** Who waits for what is done in a commit: a work of its own, or items of a joint one. */
interface Waiting {
  readonly work: Work<unknown> | null
  readonly joint: JointWork<unknown, unknown> | null
  readonly items: readonly unknown[]
  /** How many rows it changes, at most or about. */
  readonly size: number
  readonly order: string | null
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
}

/** Rows that one commit changes, at most or about. It bounds how long a commit keeps other processes from writing. */
export const MOST_AT_ONCE = 500

/** Gathers what a program writes at one time into few commits; see `Database.write` for what it promises. */
export class Commits {
  private waiting: Waiting[] = []
  /** How many commits are under way. Each goes on with what has come meanwhile. */
  private lanes = 0
  /** The orders of the works in them. */
  private readonly orders = new Set<string>()

  constructor(private readonly engine: Pick<Engine, 'commit' | 'concurrent' | 'lanes'>) {}

  write<T>(work: Work<T>, order: string | null, size: number): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.board({ work, joint: null, items: [], size, order, resolve: resolve as (value: unknown) => void, reject })
    })
  }

  writeJointly<Item, T>(work: JointWork<Item, T>, items: readonly Item[]): Promise<readonly T[]> {
    return new Promise<readonly T[]>((resolve, reject) => {
      const joint = work as JointWork<unknown, unknown>
      this.board({ work: null, joint, items, size: items.length, order: null, resolve: resolve as (value: unknown) => void, reject })
    })
  }

  private board(one: Waiting): void {
    this.waiting.push(one)
    if (this.lanes >= this.engine.lanes) return
    this.lanes += 1
    void this.drain()
  }

  private async drain(): Promise<void> {
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve)) // let everybody of this turn come aboard
      const group = this.nextGroup()
      if (group.length === 0) break
      const orders = ordersOf(group)
      for (const order of orders) this.orders.add(order)
      await this.commitGroup(group)
      for (const order of orders) this.orders.delete(order)
    }
    this.lanes -= 1
  }

  /** None: others have taken what waits, or have that under way which it is to come after, and will go on with it. */
  private nextGroup(): Waiting[] {
    const group: Waiting[] = []
    const behind: Waiting[] = []
    let size = 0
    let seen = 0
    for (const one of this.waiting) {
      if (group.length > 0 && size + one.size > MOST_AT_ONCE) break
      seen += 1
      if (one.order !== null && this.orders.has(one.order)) behind.push(one)
      else {
        group.push(one)
        size += one.size
      }
    }
    this.waiting = [...behind, ...this.waiting.slice(seen)]
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

const ordersOf = (group: readonly Waiting[]): readonly string[] => group.flatMap(({ order }) => order ?? [])

/** Those without an order first. */
function byOrder({ order: a }: Waiting, { order: b }: Waiting): number {
  if (a === null || b === null) return Number(b === null) - Number(a === null)
  return a < b ? -1 : a > b ? 1 : 0
}
