import type { Sql } from '../../src/lib/database/sql.js'
import { DAWN } from '../helpers/world.js'

export const ROWS = 200_000

/** Rows in each open condition. */
const OPEN = 300

const MESSAGES = 5000
/** Groups of 40 members; every 20th is a chord that still waits. */
const GROUPS = 2000

type Words = Pick<Sql, 'dialect'>

const isMysql = ({ dialect }: Words): boolean => dialect.name === 'mysql'

/** Texts one after the other. */
const joined = (sql: Words, ...texts: readonly string[]): string => (isMysql(sql) ? `concat(${texts.join(', ')})` : texts.join(' || '))

/** A text with a number of so many digits at its end. */
const padded = (sql: Words, prefix: string, number: string, digits: number): string => {
  if (sql.dialect.name === 'sqlite') return `printf('${prefix}%0${digits}d', ${number})`
  return isMysql(sql) ? `concat('${prefix}', lpad(${number}, ${digits}, '0'))` : `('${prefix}' || lpad((${number})::text, ${digits}, '0'))`
}

/** How often one whole number is in another. */
const whole = (sql: Words, number: string, by: number): string => (isMysql(sql) ? `(${number}) DIV ${by}` : `(${number}) / ${by}`)

/** `numbers (n)` from 0, for WITH. MySQL has no recursion of that depth, unless it is told. */
const numbers = (sql: Words, count: number): string => {
  if (!isMysql(sql)) return `RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < ${count})`
  const digits =
    'SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9'
  const places = [...String(count - 1)].map((_, i) => [`digits AS d${i}`, `d${i}.d * ${10 ** i}`])
  const all = `SELECT ${places.map(([, value]) => value).join(' + ')} AS n FROM ${places.map(([from]) => from).join(', ')}`
  return `digits AS (${digits}), numbers AS (SELECT n FROM (${all}) AS all_of_them WHERE n < ${count} ORDER BY n LIMIT ${count})`
}

/** The first rows are open, 300 in each condition; the rest has ended, nearly all of it well. */
const GENERATE = (sql: Words) => `
  INSERT INTO task_result (task_id, task, args, kwargs, status, result, error_type, queue, exchange, routing_key, priority, eta, retries, deliveries,
    worker_id, lease_until, scheduled_id, parent_id, root_id, retry_of, options, submitted_at, published_at, claimed_at, started_at, updated_at, finished_at, result_expires_at)
  WITH ${numbers(sql, ROWS)},
  kinds AS (SELECT n, CASE WHEN n < 9 * ${OPEN} THEN ${whole(sql, 'n', OPEN)} WHEN n % 100 = 0 THEN 91 WHEN n % 200 = 1 THEN 92 WHEN n % 200 = 3 THEN 93 ELSE 90 END AS kind FROM numbers)
  SELECT ${padded(sql, 'id-', 'n', 7)}, ${joined(sql, `'app'`, '(n % 20)', `'.task'`, '(n % 7)')}, '[1]', '{}',
    CASE kind WHEN 0 THEN 'PENDING' WHEN 1 THEN 'PENDING' WHEN 2 THEN 'STARTED' WHEN 3 THEN 'STARTED' WHEN 4 THEN 'RETRY' WHEN 5 THEN 'RETRY'
      WHEN 6 THEN 'SCHEDULED' WHEN 7 THEN 'SCHEDULED' WHEN 8 THEN 'SCHEDULED' WHEN 91 THEN 'FAILURE' WHEN 92 THEN 'REVOKED' WHEN 93 THEN 'SCHEDULED_SENT' ELSE 'SUCCESS' END,
    CASE WHEN kind = 90 THEN '4' END, CASE WHEN kind = 91 THEN ${joined(sql, `'Error'`, '(n % 5)')} END, ${joined(sql, `'queue'`, '(n % 5)')}, '', ${joined(sql, `'queue'`, '(n % 5)')}, 0,
    CASE WHEN kind IN (4, 5, 6, 7) THEN ${DAWN} - n WHEN kind = 8 THEN ${DAWN} + 1000000 + n WHEN kind = 93 THEN ${DAWN} - n END, 0, 1,
    CASE WHEN kind IN (2, 3, 90, 91) THEN ${joined(sql, `'w'`, '(n % 8)')} END, CASE kind WHEN 2 THEN ${DAWN} + 30000 WHEN 3 THEN ${DAWN} - 30000 END,
    CASE WHEN kind IN (7, 93) THEN ${joined(sql, `'sent-'`, 'n')} END, CASE WHEN n % 10 = 0 THEN ${padded(sql, 'id-', whole(sql, 'n', 10), 7)} END, 'id-0000000',
    CASE WHEN n % 1000 = 999 THEN ${padded(sql, 'id-', 'n - 1', 7)} END, '{}',
    ${DAWN} - (${ROWS} - n) * 1000, CASE WHEN kind NOT IN (1, 4, 6, 7, 8) THEN ${DAWN} - (${ROWS} - n) * 1000 END, CASE WHEN kind = 7 THEN ${DAWN} - n END,
    NULL, ${DAWN} - (${ROWS} - n) * 1000, CASE WHEN kind >= 90 THEN ${DAWN} - (${ROWS} - n) * 1000 END, CASE WHEN kind = 90 THEN ${DAWN} + n END
  FROM kinds`

const GENERATE_MESSAGES = (sql: Words) => `
  INSERT INTO task_message (task_id, queue, priority, body, deliveries, held_until)
  WITH ${numbers(sql, MESSAGES)}
  SELECT ${padded(sql, 'id-', 'n', 7)}, ${joined(sql, `'queue'`, '(n % 5)')}, n % 3, '{}', CASE WHEN n % 20 = 0 THEN 1 ELSE 0 END, CASE WHEN n % 20 = 0 THEN ${DAWN} + n END FROM numbers`

const GENERATE_ATTEMPTS = () => `
  INSERT INTO task_attempt (task_id, seq, at, kind)
  SELECT task_id, 1, updated_at, 'failure' FROM task_result WHERE status IN ('FAILURE', 'RETRY')`

const GENERATE_GROUPS = (sql: Words) => `
  INSERT INTO task_group (group_id, size, remaining, failed, body, root_id, parent_id, deadline, submitted_at, finished_at)
  WITH ${numbers(sql, GROUPS)}
  SELECT ${padded(sql, 'group-', 'n', 5)}, 40, CASE WHEN n % 20 = 0 THEN 2 ELSE 0 END, 0, CASE WHEN n % 2 = 0 THEN '{"kind":"group","members":[]}' END,
    'id-0000000', NULL, ${DAWN} + n, ${DAWN} - n, CASE WHEN n % 20 > 0 THEN ${DAWN} END FROM numbers`

const GENERATE_MEMBERS = (sql: Words) => `
  INSERT INTO task_group_member (group_id, group_index, task_id, status)
  WITH ${numbers(sql, 40 * GROUPS)}
  SELECT ${padded(sql, 'group-', whole(sql, 'n', 40), 5)}, n % 40, ${padded(sql, 'id-', 'n + 100000', 7)}, CASE WHEN n % 800 > 1 THEN 'SUCCESS' END FROM numbers`

const GENERATE_PLACES = (sql: Words) => `
  UPDATE task_result SET group_id = ${padded(sql, 'group-', whole(sql, 'id - 100001', 40), 5)}, group_index = (id - 100001) % 40 WHERE id > 100000 AND id <= 100000 + 40 * ${GROUPS}`

/** The statements that fill an empty ledger. */
export const generating = (sql: Words): string[] =>
  [GENERATE, GENERATE_MESSAGES, GENERATE_ATTEMPTS, GENERATE_GROUPS, GENERATE_MEMBERS, GENERATE_PLACES].map((statement) => statement(sql))
