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
  patched: (column, patch) => ({ text: `json_patch(${column}, ?)`, bindings: [patch] }),
  glob: (column, pattern) => ({ text: `${column} GLOB ?`, binding: pattern }),
  greatest: 'max',
  unindexed: (column) => `+${column}`,
  by: (_index, column) => column,
  via: (table) => table,
  locked: '',
  claimed: '',
  chosen: (select) => `IN (${select})`,
  apart: (select) => `(${select})`,
  upsert: (key) => `ON CONFLICT (${key}) DO UPDATE SET`,
  excluded: (column) => `excluded.${column}`,
  isTaken: null,
  returning: true,
  undoesTables: true,
  hasTable: "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?",
}
