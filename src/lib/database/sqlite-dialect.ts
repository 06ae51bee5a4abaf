import type { Dialect } from './dialect.js'

/** One commit at a time writes, so nothing needs a lock of its own. */
export const SQLITE: Dialect = {
  name: 'sqlite',
  among: (column) => `${column} IN (SELECT value FROM json_each(?))`,
  notAmong: (column) => `${column} NOT IN (SELECT value FROM json_each(?))`,
  elements: (alias) => `json_each(?) AS ${alias}`,
  place: 'key',
  isJson: (column) => `json_valid(${column})`,
  field: (column, name) => `CASE WHEN json_valid(${column}) THEN json_extract(${column}, '$.${name}') END`,
  isTrue: (column, name) => `(json_valid(${column}) AND json_extract(${column}, '$.${name}'))`,
  patched: (column) => `json_patch(${column}, ?)`,
  glob: (column, pattern) => ({ text: `${column} GLOB ?`, binding: pattern }),
  greatest: 'max',
  unindexed: (column) => `+${column}`,
  locked: '',
  claimed: '',
  chosen: (select) => `IN (${select})`,
  hasTable: "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?",
}
