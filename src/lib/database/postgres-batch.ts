import { POSTGRES } from './postgres-dialect.js'
import type { Binding, Sql } from './sql.js'

/** A statement that waits to be sent. */
interface Asked {
  readonly text: string
  readonly bindings: readonly Binding[]
  readonly rows: boolean
  readonly resolve: (answer: never) => void
  readonly reject: (error: unknown) => void
}

/** A statement for many bindings at once. It answers a number `n`, from 1, for each of them that changed a row. */
export interface Many {
  readonly text: string
  readonly bindings: readonly (readonly Binding[])[]
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

  /** @param many runs a statement for many bindings, and answers which of them changed a row */
  constructor(
    private readonly sql: Sql,
    private readonly many: (many: Many) => Promise<readonly number[]>,
  ) {}

  all<Row>(text: string, bindings: readonly Binding[]): Promise<Row[]> {
    return this.ask<Row[]>(text, bindings, true)
  }

  run(text: string, bindings: readonly Binding[]): Promise<number> {
    return this.ask<number>(text, bindings, false)
  }

  private ask<T>(text: string, bindings: readonly Binding[], rows: boolean): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.asked.push({ text, bindings, rows, resolve, reject })
      this.sending ??= this.send()
    })
  }

  private async send(): Promise<void> {
    while (this.asked.length > 0) {
      await new Promise((resolve) => setImmediate(resolve)) // let every work get as far as it can
      for (const same of byText(this.asked.splice(0))) await this.answer(same)
    }
    this.sending = null
  }

  /** A failed statement ends the commit, so those after it fail as well, and each tells its own work. */
  private async answer(same: readonly Asked[]): Promise<void> {
    const merged = same.length > 1 ? mergedOf(same) : null
    if (!merged) {
      for (const { text, bindings, rows, resolve, reject } of same) {
        await (rows ? this.sql.all(text, bindings) : this.sql.run(text, bindings)).then(resolve as never, reject)
      }
      return
    }
    try {
      const changed = new Set(await this.many(merged))
      for (const [i, { resolve }] of same.entries()) resolve((changed.has(i + 1) ? 1 : 0) as never)
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

/** Null: each is to be sent by itself. */
function mergedOf(same: readonly Asked[]): Many | null {
  const [first] = same
  if (!first || first.rows) return null
  const columns = first.bindings.map((_, i) => same.map(({ bindings }) => bindings[i] ?? null))
  const types = columns.map(typeOf)
  if (types.includes('mixed')) return null
  const text = manyOf(first.text, types as (keyof typeof TYPES)[])
  return text === null ? null : { text, bindings: columns.filter((_, i) => types[i] !== 'null') }
}

const TYPES = { number: 'bigint', string: 'text', null: null } as const

function typeOf(values: readonly Binding[]): keyof typeof TYPES | 'mixed' {
  const types = new Set(values.filter((value) => value !== null).map((value) => typeof value as 'number' | 'string'))
  const [type = 'null'] = types
  return types.size > 1 ? 'mixed' : type
}

/** Texts that vary (an optional filter) would fill the cache for ever. */
const MAX_TEXTS = 1000
const made = new Map<string, string | null>()

function manyOf(text: string, types: readonly (keyof typeof TYPES)[]): string | null {
  const key = `${types.join()} ${text}`
  let many = made.get(key)
  if (many === undefined) {
    if (made.size >= MAX_TEXTS) made.clear()
    many = rewritten(text, types)
    made.set(key, many)
  }
  return many
}

/** The kinds of statement that change one row for what is bound. Others are left alone. */
const UPDATE = /^(UPDATE \w+ SET [^()]*(?:\([^()]*\)[^()]*)*?)\sWHERE\s([\s\S]+)$/
/**
 * Of those, the changes of a task's row. They hold each row by its key and look at it then: asked in one, PostgreSQL would go through all
 * rows that are open, of which it believes there are few, as their number changes quicker than it counts.
 */
const BY_KEY = /^(UPDATE task_result SET [^()]*(?:\([^()]*\)[^()]*)*?)\sWHERE\stask_id = \? AND ([\s\S]+)$/
const DELETE = /^(DELETE FROM \w+) WHERE ([\s\S]+)$/
const INSERT = /^(INSERT INTO \w+ \(([\w, ]+)\)) VALUES \(([?, ]+)\)( ON CONFLICT \((\w+)\) DO NOTHING)?$/

/** The same statement with its bindings taken from rows of arrays; one that is null for all stands in the text. */
function rewritten(text: string, types: readonly (keyof typeof TYPES)[]): string | null {
  if (/\b(RETURNING|LIMIT|SELECT)\b/.test(text.replaceAll(/'[^']*'/g, ''))) return null
  const given = types.flatMap((type, i) => (type === 'null' ? [] : [{ name: `p${i}`, array: `?::${TYPES[type]}[]` }]))
  if (given.length === 0) return null
  const names = [...given.map(({ name }) => name), 'n'].join(', ')
  const rows = `unnest(${given.map(({ array }) => array).join(', ')}) WITH ORDINALITY AS given (${names})`
  let at = 0
  const next = () => (types[at++] === 'null' ? 'NULL' : `given.p${at - 1}`)
  const named = (part = '') => part.replaceAll(/'[^']*'|\?/g, (found) => (found === '?' ? next() : found))
  const byKey = BY_KEY.exec(text)
  if (byKey) {
    const changed = named(byKey[1]).replaceAll(/'[^']*'|\bgiven\./g, (found) => (found === 'given.' ? 'held.' : found))
    const key = next()
    return `WITH given AS (SELECT * FROM ${rows}), held AS MATERIALIZED (SELECT given.*, one.id AS held_id FROM given
      CROSS JOIN LATERAL (SELECT * FROM task_result WHERE task_id = ${key} FOR UPDATE) AS one WHERE ${named(byKey[2])})
      ${changed} FROM held WHERE id = held.held_id RETURNING n`
  }
  const insert = INSERT.exec(text)
  if (insert) {
    const [, head, columns = '', values, conflict = '', key] = insert
    const keyAt = columns.split(', ').indexOf(key ?? '')
    const made = `${head} SELECT ${named(values)} FROM given ORDER BY n${conflict}${key ? ` RETURNING ${key}` : ''}`
    // two that bind one key: the first was inserted
    const answer = key
      ? `SELECT min(n) AS n FROM given JOIN made ON made.${key} = given.p${keyAt} GROUP BY made.${key}`
      : 'SELECT n FROM given'
    return `WITH given AS (SELECT * FROM ${rows}), made AS (${made}) ${answer}`
  }
  const update = UPDATE.exec(text)
  if (update) return `${named(update[1])} FROM ${rows} WHERE ${named(update[2])} RETURNING n`
  const removal = DELETE.exec(text)
  return removal && `${removal[1]} USING ${rows} WHERE ${named(removal[2])} RETURNING n`
}
