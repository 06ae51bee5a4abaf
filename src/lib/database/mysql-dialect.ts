import type { Dialect, Expression } from './dialect.js'
import { regexOf } from './glob.js'
import { isTaken } from './mysql-failure.js'

const asJson = (column: string, then: string): string => `CASE WHEN json_valid(${column}) THEN ${then} END`

/** For PCRE and ICU, to which `.` is no line's end and `$` may stand before the last one. */
const perlRegexOf = (glob: string): string => `(?s)${regexOf(glob, (codePoint) => `\\x{${codePoint.toString(16)}}`).replace(/\$$/, '\\z')}`

/**
 * Fields that are new are written at the end, so that all else stays as it is written: a merge orders the fields of all objects anew. It
 * is what replaces a field, or takes one away with null.
 */
function patched(column: string, patch: string): Expression {
  const fields = Object.entries(JSON.parse(patch) as Readonly<Record<string, unknown>>)
  const merged = `json_merge_patch(${column}, ?)`
  if (fields.length === 0 || fields.some(([, value]) => value === null)) return { text: merged, bindings: [patch] }
  const paths = fields.map(([name]) => `$.${JSON.stringify(name)}`)
  const isThere = fields.every(([, value]) => typeof value !== 'object') // a list contains each of its parts
  return {
    text: `CASE ${isThere ? `WHEN json_contains(${column}, ?) THEN ${column} ` : ''}WHEN ${column} = '{}' THEN ?
      WHEN json_contains_path(${column}, 'one', ${paths.map(() => '?').join(', ')}) THEN ${merged}
      ELSE concat(left(${column}, char_length(${column}) - 1), ',', substr(?, 2)) END`,
    bindings: [...(isThere ? [patch] : []), patch, ...paths, patch, patch],
  }
}

/** For MySQL and MariaDB, in what both have. `?*` is the place of a bound list, whose elements the connection writes there. */
export const MYSQL: Dialect = {
  name: 'mysql',
  among: (column) => `${column} IN (?*)`,
  amongNumbers: (column) => `${column} IN (?*)`,
  notAmong: (column) => `${column} NOT IN (?*)`,
  elements: (alias) =>
    `(SELECT value, n - 1 AS place FROM JSON_TABLE(?, '$[*]' COLUMNS (n FOR ORDINALITY, value varchar(255) PATH '$')) AS element) AS ${alias}`,
  place: 'place',
  isJson: (column) => `json_valid(${column})`,
  field: (column, name) => asJson(column, `json_value(${column}, '$.${name}')`),
  isTrue: (column, name) => `(${asJson(column, `json_contains(${column}, 'true', '$.${name}')`)})`,
  patched,
  glob: (column, pattern) => ({ text: `${column} RLIKE ?`, binding: perlRegexOf(pattern) }),
  greatest: 'greatest',
  unindexed: (column) => `coalesce(${column})`,
  by: (index) => `by_${index}`,
  via: (table, index) => `${table} FORCE INDEX (${table}_${index})`,
  locked: ' FOR UPDATE',
  claimed: ' FOR UPDATE SKIP LOCKED',
  chosen: (select) => `IN (SELECT id FROM (${select}) AS chosen)`,
  apart: (select) => `(SELECT * FROM (${select}) AS apart)`,
  upsert: () => 'ON DUPLICATE KEY UPDATE',
  excluded: (column) => `VALUES(${column})`,
  isTaken,
  returning: false,
  undoesTables: false,
  hasTable: 'SELECT 1 FROM information_schema.tables WHERE table_name = ? AND table_schema = database()',
}
