import type { Dialect } from './dialect.js'
import { regexOf } from './glob.js'

const TEXTS = 'ARRAY(SELECT json_array_elements_text(?::json))'

const escaped = (codePoint: number): string => `\\U${codePoint.toString(16).padStart(8, '0')}`

/** The functions `taskledger_…` are made by the migrations: no cast of a text that may be no JSON can be asked first whether it works. */
export const POSTGRES: Dialect = {
  name: 'postgres',
  among: (column) => `${column} = ANY(${TEXTS})`,
  amongNumbers: (column) => `${column} = ANY(${TEXTS}::bigint[])`,
  notAmong: (column) => `${column} <> ALL(${TEXTS})`,
  elements: (alias) =>
    `(SELECT value, n - 1 AS place FROM json_array_elements_text(?::json) WITH ORDINALITY AS element (value, n)) AS ${alias}`,
  place: 'place',
  isJson: (column) => `(taskledger_json(${column}) IS NOT NULL)`,
  field: (column, name) => `taskledger_json(${column}) ->> '${name}'`,
  isTrue: (column, name) => `(taskledger_json(${column}) ->> '${name}') = 'true'`,
  patched: (column, patch) => ({ text: `taskledger_json_patch(${column}, ?)`, bindings: [patch] }),
  glob: (column, pattern) => ({ text: `${column} ~ ?`, binding: regexOf(pattern, escaped) }),
  greatest: 'greatest',
  unindexed: (column) => column,
  by: (_index, column) => column,
  via: (table) => table,
  locked: ' FOR UPDATE',
  claimed: ' FOR UPDATE SKIP LOCKED',
  // a plan may ask IN (SELECT … LIMIT) again for each row, and so choose more
  chosen: (select) => `= ANY(ARRAY(${select}))`,
  apart: (select) => `(${select})`,
  upsert: (key) => `ON CONFLICT (${key}) DO UPDATE SET`,
  excluded: (column) => `excluded.${column}`,
  isTaken: null,
  returning: true,
  undoesTables: true,
  // to_regclass may remember that a table was not there when this transaction began to wait
  hasTable:
    'SELECT 1 FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE relname = ? AND nspname = ANY(current_schemas(false))',
}
