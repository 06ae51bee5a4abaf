/** Whether this is PostgreSQL. @param {import('knex').Knex} knex */
export const isPostgres = (knex) => knex.client.dialect === 'postgresql'

/** Whether this is MySQL or MariaDB. @param {import('knex').Knex} knex */
export const isMysql = (knex) => knex.client.dialect === 'mysql'

/**
 * A column of ids or names. In PostgreSQL they compare byte by byte, as in SQLite, whatever language the database is set to;
 * and it takes names of any length, as SQLite does.
 *
 * @param {import('knex').Knex} knex
 */
export const wordsOf = (knex) => (table, name, length) =>
  isPostgres(knex) ? table.specificType(name, 'text COLLATE "C"') : table.string(name, length)

/**
 * How PostgreSQL stores tables and cleans up behind changes; elsewhere nothing.
 *
 * @param {import('knex').Knex} knex
 * @param {Readonly<Record<string, string>>} settings by table
 */
export async function setStorage(knex, settings) {
  if (!isPostgres(knex)) return
  for (const [table, storage] of Object.entries(settings)) await knex.raw(`ALTER TABLE ${table} SET (${storage})`)
}
