import { isMysql, isPostgres, setStorage, wordsOf } from './columns.js'
import { dropTables, LEDGER, makeTables } from './mysql.js'

/**
 * The ledger (task_result, task_attempt), the embedded broker's queue (task_message), whose turn it is
 * (task_rate) and who is alive (task_worker).
 *
 * Instants are written by the program's own clock as epoch milliseconds. Every operational query is phrased on
 * nullness plus one range, so that the partial indexes below, which hold open rows only, answer it however many
 * finished rows there are.
 *
 * @param {import('knex').Knex} knex
 */
export async function up(knex) {
  if (isMysql(knex)) return makeTables(knex, LEDGER)
  const words = wordsOf(knex)
  if (isPostgres(knex)) for (const make of FUNCTIONS) await knex.raw(make)
  await knex.schema.createTable('task_result', (table) => {
    table.bigIncrements('id')
    words(table, 'task_id', 255).notNullable().unique({ indexName: 'task_result_task_id' })
    words(table, 'task', 255).notNullable()
    table.text('args').notNullable()
    table.text('kwargs').notNullable()
    words(table, 'status', 50).notNullable()
    table.text('result')
    words(table, 'error_type', 255)
    table.text('error_message')
    table.text('traceback')
    words(table, 'queue', 255).notNullable()
    words(table, 'exchange', 255).notNullable()
    words(table, 'routing_key', 255).notNullable()
    table.integer('priority').notNullable()
    table.bigInteger('eta')
    table.bigInteger('expires')
    table.integer('retries').notNullable()
    table.integer('max_retries')
    table.integer('deliveries').notNullable().defaultTo(0)
    words(table, 'worker_id', 255)
    table.bigInteger('lease_until')
    words(table, 'scheduled_id', 255)
    words(table, 'parent_id', 255)
    words(table, 'root_id', 255).notNullable()
    words(table, 'group_id', 255)
    table.integer('group_index')
    words(table, 'retry_of', 255)
    words(table, 'periodic_name', 255)
    table.text('options').notNullable()
    table.text('meta')
    table.bigInteger('submitted_at').notNullable()
    table.bigInteger('published_at')
    table.bigInteger('claimed_at')
    table.bigInteger('started_at')
    table.bigInteger('updated_at').notNullable()
    table.bigInteger('finished_at')
    table.bigInteger('result_expires_at')
    table.check(
      "(finished_at IS NOT NULL) = (status IN ('SUCCESS', 'FAILURE', 'REVOKED', 'IGNORED', 'SCHEDULED_SENT'))",
      [],
      'task_result_finished_at_iff_final',
    )
  })
  const index = (name, columns, where) =>
    knex.raw(`CREATE INDEX task_result_${name} ON task_result (${columns})${where ? ` WHERE ${where}` : ''}`)
  // what is out: a message was published, no end is recorded
  await index('in_flight', 'updated_at, id', 'finished_at IS NULL AND published_at IS NOT NULL')
  await index('unpublished', 'updated_at, id', 'finished_at IS NULL AND published_at IS NULL AND eta IS NULL')
  // what waits for its eta and no sender has claimed
  await index('due', 'eta, id', 'finished_at IS NULL AND published_at IS NULL AND scheduled_id IS NULL AND eta IS NOT NULL')
  await index('open', 'status, id', 'finished_at IS NULL')
  // what a lost worker leaves that its task wants failed or repeated; a task that says nothing costs nothing here
  await index('rescuable', 'lease_until, id', `finished_at IS NULL AND options LIKE '%"onWorkerLost"%'`)
  await index('claimed', 'claimed_at, id', 'finished_at IS NULL AND scheduled_id IS NOT NULL')
  await index('finished', 'finished_at, id', 'finished_at IS NOT NULL')
  await index('expiry', 'result_expires_at, id', 'result_expires_at IS NOT NULL')
  // what ended, but not well; the happy path never touches it
  await index('unhappy', 'status, id', "finished_at IS NOT NULL AND status <> 'SUCCESS'")
  await index('error_type', 'error_type, id', 'error_type IS NOT NULL')
  await index('task', 'task, id')
  await index('queue', 'queue, id')
  await index('submitted', 'submitted_at, id')
  await index('parent', 'parent_id', 'parent_id IS NOT NULL')
  await index('retry_of', 'retry_of', 'retry_of IS NOT NULL')

  await knex.schema.createTable('task_attempt', (table) => {
    table.bigIncrements('id')
    words(table, 'task_id', 255).notNullable()
    table.integer('seq').notNullable()
    table.bigInteger('at').notNullable()
    words(table, 'kind', 50).notNullable()
    words(table, 'worker_id', 255)
    words(table, 'error_type', 255)
    table.text('error_message')
    table.text('traceback')
    table.unique(['task_id', 'seq'], { indexName: 'task_attempt_task_id_seq' })
  })

  await knex.schema.createTable('task_message', (table) => {
    table.bigIncrements('id')
    words(table, 'task_id', 255).notNullable()
    words(table, 'queue', 255).notNullable()
    table.integer('priority').notNullable()
    table.text('body').notNullable()
    table.integer('deliveries').notNullable().defaultTo(0)
    table.bigInteger('held_until')
  })
  await knex.raw('CREATE INDEX task_message_ready ON task_message (queue, priority DESC, id) WHERE held_until IS NULL')
  await knex.raw('CREATE INDEX task_message_task_id ON task_message (task_id)')
  await knex.raw('CREATE INDEX task_message_held ON task_message (held_until) WHERE held_until IS NOT NULL')

  await knex.schema.createTable('task_rate', (table) => {
    words(table, 'task', 255).primary()
    table.bigInteger('next_at').notNullable()
  })

  await knex.schema.createTable('task_worker', (table) => {
    words(table, 'worker_id', 255).primary()
    words(table, 'host', 255).notNullable()
    table.integer('pid').notNullable()
    table.text('queues').notNullable()
    table.bigInteger('started_at').notNullable()
    table.bigInteger('beat_at').notNullable()
    table.bigInteger('lease_until').notNullable()
  })
  await setStorage(knex, STORAGE)
  if (isPostgres(knex)) for (const make of TELLING) await knex.raw(make)
}

/** @param {import('knex').Knex} knex */
export async function down(knex) {
  if (isMysql(knex)) return dropTables(knex, LEDGER)
  for (const table of ['task_worker', 'task_rate', 'task_message', 'task_attempt', 'task_result']) await knex.schema.dropTable(table)
  if (!isPostgres(knex)) return
  for (const made of ['taskledger_tell()', 'taskledger_json_patch(text, text)', 'taskledger_json_fields(text)', 'taskledger_json(text)'])
    await knex.raw(`DROP FUNCTION ${made}`)
}

/**
 * What PostgreSQL below 16 cannot be asked: whether a text is JSON. The escapes that jsonb does not take are none that anything
 * is looked up by. A patch leaves the rest of the text as it was written: what is new is added at the end. Only where a field is
 * replaced, or taken away with null, the object is put together anew, and no escape is read then.
 */
const FUNCTIONS = [
  `CREATE FUNCTION taskledger_json(document text) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE STRICT AS $body$
   BEGIN
     RETURN regexp_replace(document, '\\\\u(0000|[dD][89a-fA-F][0-9a-fA-F]{2})', '\\\\ufffd', 'g')::jsonb;
   EXCEPTION WHEN OTHERS THEN
     RETURN NULL;
   END $body$`,
  `CREATE FUNCTION taskledger_json_fields(document text) RETURNS TABLE (name text, value text, place bigint) LANGUAGE sql IMMUTABLE STRICT AS $body$
     SELECT replace(to_json(field.key)::text, '\\\\taskledger:u', '\\u'), replace(field.value::text, '\\\\taskledger:u', '\\u'), n
       FROM json_each(regexp_replace(document,
              '(\\?<!\\\\)((\\?:\\\\\\\\)*)\\\\u(0000|[dD][89a-fA-F][0-9a-fA-F]{2})', '\\1\\\\\\\\taskledger:u\\2', 'g')::json)
         WITH ORDINALITY AS field (key, value, n)
   $body$`,
  `CREATE FUNCTION taskledger_json_patch(document text, patch text) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS $body$
     SELECT CASE
       WHEN taskledger_json(document) || taskledger_json(patch) = taskledger_json(document) THEN document
       WHEN document = '{}' AND patch !~ 'null' THEN patch
       WHEN patch !~ 'null' AND jsonb_exists_any(taskledger_json(document), ARRAY(SELECT jsonb_object_keys(taskledger_json(patch)))) IS NOT TRUE
       THEN left(document, -1) || ',' || substr(patch, 2)
       ELSE (SELECT '{' || coalesce(string_agg(name || ':' || value, ',' ORDER BY side, place), '') || '}'
               FROM (SELECT 1 AS side, name, value, place FROM taskledger_json_fields(document)
                      WHERE name NOT IN (SELECT name FROM taskledger_json_fields(patch))
                     UNION ALL
                     SELECT 2, name, value, place FROM taskledger_json_fields(patch) WHERE value <> 'null') AS field)
       END
   $body$`,
]

/** Who waits for messages is told of an insert once it is committed. */
const TELLING = [
  `CREATE FUNCTION taskledger_tell() RETURNS trigger LANGUAGE plpgsql AS $body$
   BEGIN
     PERFORM pg_notify('taskledger', TG_TABLE_SCHEMA);
     RETURN NULL;
   END $body$`,
  'CREATE TRIGGER task_message_tell AFTER INSERT ON task_message FOR EACH STATEMENT EXECUTE FUNCTION taskledger_tell()',
]

/**
 * For PostgreSQL. Dead rows of a queue, and dead entries at the old end of the indexes of open rows, are what makes it slow: they are
 * cleared after a number of changes, not after a fifth of a table that only grows. Room in a page lets a beat or a counter stay in it.
 */
const STORAGE = {
  task_result:
    'fillfactor = 85, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000, autovacuum_analyze_scale_factor = 0.02',
  task_message:
    'fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 5000',
  task_rate: 'fillfactor = 50',
  task_worker: 'fillfactor = 50',
}
