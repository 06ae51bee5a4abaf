import { isMysql, wordsOf } from './columns.js'
import { CELERY_RESULTS, dropTables, makeTables } from './mysql.js'

/**
 * What Celery's clients are still to be told of tasks that have ended, until the store of their results has it.
 *
 * @param {import('knex').Knex} knex
 */
export async function up(knex) {
  if (isMysql(knex)) return makeTables(knex, CELERY_RESULTS)
  const words = wordsOf(knex)
  await knex.schema.createTable('celery_outbox', (table) => {
    words(table, 'task_id', 255).primary()
    words(table, 'status', 50).notNullable()
    table.bigInteger('ended_at').notNullable()
    table.text('ending').notNullable()
    table.bigInteger('held_until').notNullable()
  })
  await knex.raw('CREATE INDEX celery_outbox_held ON celery_outbox (held_until, task_id)')
}

/** @param {import('knex').Knex} knex */
export async function down(knex) {
  if (isMysql(knex)) return dropTables(knex, CELERY_RESULTS)
  await knex.schema.dropTable('celery_outbox')
}
