import type { Dialect } from './dialect.js'

const TEXTS = 'ARRAY(SELECT json_array_elements_text(?::json))'

/** The functions `taskledger_…` are made by the migrations: no cast of a text that may be no JSON can be asked first whether it works. */
export const POSTGRES: Dialect = {
  name: 'postgres',
  among: (column) => `${column} = ANY(${TEXTS})`,
  notAmong: (column) => `${column} <> ALL(${TEXTS})`,
  elements: (alias) =>
    `(SELECT value, n - 1 AS place FROM json_array_elements_text(?::json) WITH ORDINALITY AS element (value, n)) AS ${alias}`,
  place: 'place',
  isJson: (column) => `(taskledger_json(${column}) IS NOT NULL)`,
  field: (column, name) => `taskledger_json(${column}) ->> '${name}'`,
  isTrue: (column, name) => `(taskledger_json(${column}) ->> '${name}') = 'true'`,
  patched: (column) => `taskledger_json_patch(${column}, ?)`,
  glob: (column, pattern) => ({ text: `${column} ~ ?`, binding: regexOf(pattern) }),
  greatest: 'greatest',
  unindexed: (column) => column,
  locked: ' FOR UPDATE',
  claimed: ' FOR UPDATE SKIP LOCKED',
  // a plan may ask IN (SELECT … LIMIT) again for each row, and so choose more
  chosen: (select) => `= ANY(ARRAY(${select}))`,
  // to_regclass may remember that a table was not there when this transaction began to wait
  hasTable:
    'SELECT 1 FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE relname = ? AND nspname = ANY(current_schemas(false))',
}

/** Matches nothing. */
const NEVER = 'x^'

/** A set, or any one character. */
const PIECE = /\[(\^?)(\]?[^\]]*)\]|./gs

/** A glob as an advanced regular expression. A bracket that is never closed matches nothing, as in SQLite. */
export function regexOf(glob: string): string {
  const pieces = [...glob.matchAll(PIECE)].map(([piece, negated, set]) => {
    if (set) return `[${negated}${membersOf(set)}]`
    if (piece.startsWith('[')) return NEVER
    if (piece === '*') return '.*'
    return piece === '?' ? '.' : piece.replace(/[.+^${}()|\]\\]/, '\\$&')
  })
  return pieces.includes(NEVER) ? NEVER : `^${pieces.join('')}$`
}

/** The characters and ranges of a set; one whose end comes before its beginning has nothing in it. */
const membersOf = (set: string): string =>
  set.replaceAll(/(.)(?:-(.))?/gsu, (_, from: string, to: string | undefined) => {
    if (to === undefined) return escaped(from)
    return from <= to ? `${escaped(from)}-${escaped(to)}` : escaped(from)
  })

const escaped = (character: string): string => `\\U${(character.codePointAt(0) ?? 0).toString(16).padStart(8, '0')}`
