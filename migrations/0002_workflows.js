import { isMysql, isPostgres, setStorage, wordsOf } from './columns.js'
import { addTo, dropTables, EXPIRING, makeTables, takeFrom, WORKFLOWS } from './mysql.js'

/**
 * Workflows: a group and who is in it. A chord's body is stored here once, however many members wait for it.
 *
 * @param {import('knex').Knex} knex
 */
export async function up(knex) {
  if (isMysql(knex)) {
    await makeTables(knex, WORKFLOWS)
    return addTo(knex, 'task_result', EXPIRING)
  }
  const words = wordsOf(knex)
  await knex.schema.createTable('task_group', (table) => {
    words(table, 'group_id', 255).primary()
    table.integer('size').notNullable()
    table.integer('remaining').notNullable()
    table.integer('failed').notNullable()
    table.text('body')
    words(table, 'root_id', 255).notNullable()
    words(table, 'parent_id', 255)
    table.bigInteger('deadline')
    table.bigInteger('submitted_at').notNullable()
    table.bigInteger('finished_at')
  })
  await knex.raw(
    'CREATE INDEX task_group_deadline ON task_group (deadline, group_id) WHERE finished_at IS NULL AND deadline IS NOT NULL AND body IS NOT NULL',
  )

  if (isPostgres(knex)) {
    await knex.schema.createTable('task_group_member', (table) => {
      words(table, 'group_id', 255).notNullable()
      table.integer('group_index').notNullable()
      words(table, 'task_id', 255).notNullable()
      words(table, 'status', 50)
      table.primary(['group_id', 'group_index'])
    })
    // an arrival changes a counter that no index knows: with room in its page it is no more than that
    await setStorage(knex, { task_group: 'fillfactor = 50', task_group_member: 'fillfactor = 70' })
  } else {
    // without rowid: the key is the table, so an arrival is one search in one tree
    await knex.raw(
      `CREATE TABLE task_group_member (group_id varchar(255) NOT NULL, group_index integer NOT NULL, task_id varchar(255) NOT NULL, status varchar(50),
       PRIMARY KEY (group_id, group_index)) WITHOUT ROWID`,
    )
  }

  // what belongs to a workflow, by the first of it; the first itself is found by its id
  await knex.raw('CREATE INDEX task_result_root ON task_result (root_id, id) WHERE root_id <> task_id')
  // what nobody started yet, and from some instant on nobody may
  await knex.raw(
    "CREATE INDEX task_result_expiring ON task_result (expires, id) WHERE finished_at IS NULL AND expires IS NOT NULL AND lease_until IS NULL AND status <> 'SCHEDULED'",
  )
}

/** @param {import('knex').Knex} knex */
export async function down(knex) {
  if (isMysql(knex)) {
    await takeFrom(knex, 'task_result', EXPIRING)
    return dropTables(knex, WORKFLOWS)
  }
  for (const index of ['task_result_expiring', 'task_result_root']) await knex.raw(`DROP INDEX ${index}`)
  for (const table of ['task_group_member', 'task_group']) await knex.schema.dropTable(table)
}
