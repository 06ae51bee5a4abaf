/**
 * The tables as MySQL and MariaDB have them. What makes or changes a table is a commit of its own there, so each table is made
 * with all of its indexes in one statement, and what a migration that died has made is not made again.
 *
 * No index is partial. A column `by_…`, which no `*` shows, stands for each that is elsewhere: it holds what that index is ordered by
 * for the rows of that index, and null for all others, so that an end moves nothing but the entries the row really has.
 */

const WORD = 'varchar(255)'

/** @type {Readonly<Record<string, string>>} */
export const LEDGER = {
  task_result: `
    id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
    task_id ${WORD} NOT NULL,
    task ${WORD} NOT NULL,
    args longtext NOT NULL,
    kwargs longtext NOT NULL,
    status varchar(50) NOT NULL,
    result longtext,
    error_type ${WORD},
    error_message longtext,
    traceback longtext,
    queue ${WORD} NOT NULL,
    exchange ${WORD} NOT NULL,
    routing_key ${WORD} NOT NULL,
    priority int NOT NULL,
    eta bigint,
    expires bigint,
    retries int NOT NULL,
    max_retries int,
    deliveries int NOT NULL DEFAULT 0,
    worker_id ${WORD},
    lease_until bigint,
    scheduled_id ${WORD},
    parent_id ${WORD},
    root_id ${WORD} NOT NULL,
    group_id ${WORD},
    group_index int,
    retry_of ${WORD},
    periodic_name ${WORD},
    options longtext NOT NULL,
    meta longtext,
    submitted_at bigint NOT NULL,
    published_at bigint,
    claimed_at bigint,
    started_at bigint,
    updated_at bigint NOT NULL,
    finished_at bigint,
    result_expires_at bigint,
    ${by('in_flight', 'updated_at', 'published_at IS NOT NULL')},
    ${by('unpublished', 'updated_at', 'published_at IS NULL AND eta IS NULL')},
    ${by('due', 'eta', 'published_at IS NULL AND scheduled_id IS NULL')},
    ${by('rescuable', 'lease_until', `options LIKE '%"onWorkerLost"%'`)},
    ${by('claimed', 'claimed_at', 'scheduled_id IS NOT NULL')},
    CONSTRAINT task_result_finished_at_iff_final
      CHECK ((finished_at IS NOT NULL) = (status IN ('SUCCESS', 'FAILURE', 'REVOKED', 'IGNORED', 'SCHEDULED_SENT'))),
    UNIQUE KEY task_result_task_id (task_id),
    KEY task_result_in_flight (by_in_flight, id),
    KEY task_result_unpublished (by_unpublished, id),
    KEY task_result_due (by_due, id),
    KEY task_result_rescuable (by_rescuable, id),
    KEY task_result_claimed (by_claimed, id),
    KEY task_result_status (status, id),
    KEY task_result_finished (finished_at, id),
    KEY task_result_expiry (result_expires_at, id),
    KEY task_result_error_type (error_type, id),
    KEY task_result_task (task, id),
    KEY task_result_queue (queue, id),
    KEY task_result_submitted (submitted_at, id),
    KEY task_result_parent (parent_id, id),
    KEY task_result_retry_of (retry_of, id)`,
  task_attempt: `
    id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
    task_id ${WORD} NOT NULL,
    seq int NOT NULL,
    at bigint NOT NULL,
    kind varchar(50) NOT NULL,
    worker_id ${WORD},
    error_type ${WORD},
    error_message longtext,
    traceback longtext,
    UNIQUE KEY task_attempt_task_id_seq (task_id, seq)`,
  task_message: `
    id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
    task_id ${WORD} NOT NULL,
    queue ${WORD} NOT NULL,
    priority int NOT NULL,
    body longtext NOT NULL,
    deliveries int NOT NULL DEFAULT 0,
    held_until bigint,
    KEY task_message_ready (queue, held_until, priority DESC, id),
    KEY task_message_task_id (task_id),
    KEY task_message_held (held_until)`,
  task_rate: `
    task ${WORD} NOT NULL PRIMARY KEY,
    next_at bigint NOT NULL`,
  task_worker: `
    worker_id ${WORD} NOT NULL PRIMARY KEY,
    host ${WORD} NOT NULL,
    pid int NOT NULL,
    queues longtext NOT NULL,
    started_at bigint NOT NULL,
    beat_at bigint NOT NULL,
    lease_until bigint NOT NULL`,
}

/** @type {Readonly<Record<string, string>>} */
export const WORKFLOWS = {
  task_group: `
    group_id ${WORD} NOT NULL PRIMARY KEY,
    size int NOT NULL,
    remaining int NOT NULL,
    failed int NOT NULL,
    body longtext,
    root_id ${WORD} NOT NULL,
    parent_id ${WORD},
    deadline bigint,
    submitted_at bigint NOT NULL,
    finished_at bigint,
    KEY task_group_deadline (finished_at, deadline, group_id)`,
  task_group_member: `
    group_id ${WORD} NOT NULL,
    group_index int NOT NULL,
    task_id ${WORD} NOT NULL,
    status varchar(50),
    PRIMARY KEY (group_id, group_index)`,
}

/** @type {Readonly<Record<string, string>>} */
export const CELERY_RESULTS = {
  celery_outbox: `
    task_id ${WORD} NOT NULL PRIMARY KEY,
    status varchar(50) NOT NULL,
    ended_at bigint NOT NULL,
    ending longtext NOT NULL,
    held_until bigint NOT NULL,
    KEY celery_outbox_held (held_until, task_id)`,
}

/** What workflows add to the ledger's rows. */
export const EXPIRING = {
  mark: 'task_result_root',
  up: `ADD COLUMN ${by('expiring', 'expires', "lease_until IS NULL AND status <> 'SCHEDULED'")},
    ADD KEY task_result_root (root_id, id), ADD KEY task_result_expiring (by_expiring, id)`,
  down: 'DROP KEY task_result_root, DROP KEY task_result_expiring, DROP COLUMN by_expiring',
}

/** The column of an index: `column` of open rows that meet `where`. */
function by(index, column, where) {
  return `by_${index} bigint GENERATED ALWAYS AS (CASE WHEN finished_at IS NULL AND ${where} THEN ${column} END) STORED INVISIBLE`
}

/** What tells a table that a migration made, and died before it was noted, from one of the same name that is somebody else's. */
const OURS = 'taskledger'

/**
 * Texts compare byte by byte, blanks at their end as well.
 *
 * @param {import('knex').Knex} knex
 */
async function collationOf(knex) {
  const [[{ version }]] = await knex.raw('SELECT version() AS version')
  return /mariadb/i.test(version) ? 'utf8mb4_nopad_bin' : 'utf8mb4_0900_bin'
}

/** @param {import('knex').Knex} knex @param {Readonly<Record<string, string>>} tables */
export async function makeTables(knex, tables) {
  const collation = await collationOf(knex)
  const [made] = await knex.raw(
    'SELECT table_name AS name FROM information_schema.tables WHERE table_schema = database() AND table_comment = ?',
    [OURS],
  )
  for (const [name, columns] of Object.entries(tables)) {
    if (made.some((table) => table.name === name)) continue
    await knex.raw(
      `CREATE TABLE ${name} (${columns}) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARSET = utf8mb4 COLLATE = ${collation} COMMENT = '${OURS}'`,
    )
  }
}

/** @param {import('knex').Knex} knex @param {Readonly<Record<string, string>>} tables */
export async function dropTables(knex, tables) {
  for (const name of Object.keys(tables).reverse()) await knex.raw(`DROP TABLE IF EXISTS ${name}`)
}

/** @param {import('knex').Knex} knex */
export async function addTo(knex, table, { mark, up }) {
  if (!(await hasIndex(knex, table, mark))) await knex.raw(`ALTER TABLE ${table} ${up}`)
}

/** @param {import('knex').Knex} knex */
export async function takeFrom(knex, table, { mark, down }) {
  if (await hasIndex(knex, table, mark)) await knex.raw(`ALTER TABLE ${table} ${down}`)
}

async function hasIndex(knex, table, index) {
  const [found] = await knex.raw(
    'SELECT 1 FROM information_schema.statistics WHERE table_schema = database() AND table_name = ? AND index_name = ? LIMIT 1',
    [table, index],
  )
  return found.length > 0
}
