import type { Binding } from './sql.js'

/** A statement for many bindings at once. It answers a number `n`, from 1, for each of them that changed a row. */
export interface Many {
  readonly text: string
  readonly bindings: readonly (Binding | readonly Binding[])[]
}

/** Null: each is to be sent by itself. */
export function manyOf(text: string, rows: readonly (readonly Binding[])[]): Many | null {
  const columns = (rows[0] ?? []).map((_, i) => rows.map((bindings) => bindings[i] ?? null))
  const types = columns.map(typeOf)
  if (!types.every((type) => type !== 'mixed') || !types.some((type) => type?.endsWith('[]'))) return null
  const merged = textOf(text, types)
  if (merged === null) return null
  const arrays = columns.filter((_, i) => types[i]?.endsWith('[]'))
  const others = columns.flatMap((values, i) => (types[i] === null || types[i]?.endsWith('[]') ? [] : [values[0] ?? null]))
  return { text: merged, bindings: [...others, ...arrays] }
}

/** How a column of bindings is told to PostgreSQL; null for one of nulls alone, which stands in the text. */
type Type = 'bigint[]' | 'text[]' | 'bigint' | 'text' | null

/** What is the same for all is bound once. */
function typeOf(values: readonly Binding[]): Type | 'mixed' {
  const [first = null] = values
  if (values.every((value) => value === first)) return first === null ? null : typeof first === 'number' ? 'bigint' : 'text'
  const type = typeof (first ?? values.find((value) => value !== null))
  if (!values.every((value) => value === null || typeof value === type)) return 'mixed'
  return type === 'number' ? 'bigint[]' : 'text[]'
}

/** Texts that vary (an optional filter) would fill the cache for ever. */
const MAX_TEXTS = 1000
const made = new Map<string, string | null>()

function textOf(text: string, types: readonly Type[]): string | null {
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
 * Of those, the changes of a task's row, which is to be found by its key. PostgreSQL would rather go through all rows that are open: it
 * believes there are few, as their number changes quicker than it counts. It cannot count what a CASE comes to.
 */
const BY_KEY = /^(UPDATE task_result SET .*\sWHERE\s+task_id = \?) AND (.+)$/s
const uncounted = (text: string): string => text.replace(BY_KEY, '$1 AND CASE WHEN $2 THEN true END')

const DELETE = /^(DELETE FROM \w+) WHERE ([\s\S]+)$/
const INSERT = /^(INSERT INTO \w+ \(([\w, ]+)\)) VALUES \(([?, ]+)\)( ON CONFLICT \((\w+)\) DO NOTHING)?$/

/** The same statement with its bindings taken from rows of arrays. */
function rewritten(text: string, types: readonly Type[]): string | null {
  if (/\b(RETURNING|LIMIT|SELECT)\b/.test(text.replaceAll(/'[^']*'/g, ''))) return null
  const bound = types.flatMap((type, i) => (type === null ? [] : [{ name: `p${i}`, type }]))
  const arrays = bound.filter(({ type }) => type.endsWith('[]'))
  const others = bound.filter((one) => !arrays.includes(one)).map(({ name, type }) => `, ?::${type} AS ${name}`)
  const names = [...arrays.map(({ name }) => name), 'n'].join(', ')
  const rows = `(SELECT *${others.join('')} FROM unnest(${arrays.map(({ type }) => `?::${type}`).join(', ')}) WITH ORDINALITY AS listed (${names})) AS given`
  let at = 0
  const next = () => (types[at++] === null ? 'NULL' : `given.p${at - 1}`)
  const named = (part = '') => part.replaceAll(/'[^']*'|\?/g, (found) => (found === '?' ? next() : found))
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
  const update = UPDATE.exec(uncounted(text))
  if (update) return `${named(update[1])} FROM ${rows} WHERE ${named(update[2])} RETURNING n`
  const removal = DELETE.exec(text)
  return removal && `${removal[1]} USING ${rows} WHERE ${named(removal[2])} RETURNING n`
}
