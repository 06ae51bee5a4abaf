// How MySQL or MariaDB finds a ledger's few open rows among a million that have ended: by an index on (finished_at, x), or by one on
// a column of its own that is null for what has ended. Usage: node bench/mysql-indexes.mjs mysql://root@127.0.0.1/test [ROWS]
import mysql from 'mysql2/promise'
import { EXPIRING, LEDGER } from '../migrations/mysql.js'

const ROWS = Number(process.argv[3] ?? 1_000_000)
const SCHEDULED = 100_000
const OPEN = 300
const CYCLES = 500
const TURNS = 7

const OPEN_KEYS = ['in_flight', 'unpublished', 'due', 'rescuable', 'claimed']
const COMPOSITE = `
  KEY task_result_in_flight (finished_at, updated_at, id),
  KEY task_result_unpublished (finished_at, published_at, eta, updated_at, id),
  KEY task_result_due (finished_at, published_at, scheduled_id, eta, id),
  KEY task_result_rescuable (finished_at, lease_until, id),
  KEY task_result_claimed (finished_at, claimed_at, id),
  KEY task_result_expiring (finished_at, expires, id)`

const lines = LEDGER.task_result.trim().split('\n')
const composite = `${lines
  .filter((line) => !/^\s*by_/.test(line) && !OPEN_KEYS.some((key) => line.includes(`KEY task_result_${key} `)))
  .join('\n')},${COMPOSITE}`

const db = await mysql.createConnection(process.argv[2])
const run = async (text, values) => (await db.query(text, values))[0]
const ms = async (work) => {
  const startedAt = performance.now()
  await work()
  return Math.round((performance.now() - startedAt) * 10) / 10
}
const best = async (work) => {
  const times = []
  for (let i = 0; i < 7; i++) times.push(await ms(work))
  return Math.min(...times)
}

const row = (from, to, given) => {
  const columns = {
    task_id: "concat(md5(n), '-', n)",
    task: "concat('app.task', n % 20)",
    args: `'[1]'`,
    kwargs: `'{}'`,
    status: `'SUCCESS'`,
    queue: `'default'`,
    exchange: `''`,
    routing_key: `'default'`,
    priority: 0,
    retries: 0,
    root_id: "concat(md5(n), '-', n)",
    options: `'{}'`,
    submitted_at: 'n',
    updated_at: 'n',
    published_at: 'n',
    started_at: 'n',
    finished_at: 'n',
    result: `'4'`,
    worker_id: `'worker-1'`,
    result_expires_at: 'n + 1000000',
    ...given,
  }
  return `INSERT INTO task_result (${Object.keys(columns).join(', ')}) SELECT ${Object.values(columns).join(', ')} FROM (SELECT CAST(seq AS signed) AS n FROM seq_${from}_to_${to}) AS numbers ORDER BY n`
}
const unfinished = { result: 'NULL', finished_at: 'NULL', result_expires_at: 'NULL', worker_id: 'NULL', started_at: 'NULL' }

/** Rows go the way of a task, a hundred in one commit. */
async function cycles(from) {
  for (let at = from; at < from + CYCLES; at += 100) {
    await run('START TRANSACTION')
    for (let n = at; n < at + 100; n++) await run(row(n, n, { ...unfinished, status: `'PENDING'` }))
    await run('COMMIT')
    for (const change of [
      "status = 'STARTED', worker_id = 'worker-1', lease_until = updated_at + 30000, started_at = updated_at, deliveries = 1",
      "status = 'SUCCESS', result = '4', lease_until = NULL, finished_at = updated_at + 1, updated_at = updated_at + 1, result_expires_at = updated_at + 100000",
    ]) {
      await run('START TRANSACTION')
      for (let n = at; n < at + 100; n++)
        await run(`UPDATE task_result SET ${change} WHERE task_id = concat(md5(${n}), '-', ${n}) AND finished_at IS NULL`)
      await run('COMMIT')
    }
  }
}

const QUERIES = (marker) => {
  const by = (index, column) => (marker ? `by_${index}` : column)
  const via = (index) => `task_result FORCE INDEX (task_result_${index})`
  const waiting = `finished_at IS NULL AND published_at IS NULL AND scheduled_id IS NULL AND ${by('due', 'eta')} IS NOT NULL`
  const late = 3_000_000
  return {
    'in flight': `SELECT * FROM ${via('in_flight')} WHERE finished_at IS NULL AND published_at IS NOT NULL AND ${by('in_flight', 'updated_at')} <= ${late} ORDER BY ${by('in_flight', 'updated_at')}, id LIMIT 1000`,
    unpublished: `SELECT * FROM ${via('unpublished')} WHERE finished_at IS NULL AND published_at IS NULL AND eta IS NULL AND ${by('unpublished', 'updated_at')} <= ${late} ORDER BY ${by('unpublished', 'updated_at')}, id LIMIT 1000`,
    due: `SELECT * FROM ${via('due')} WHERE ${waiting} AND ${by('due', 'eta')} < 100 ORDER BY ${by('due', 'eta')}, id LIMIT 100`,
    'next eta': `SELECT eta FROM ${via('due')} WHERE ${waiting} ORDER BY ${by('due', 'eta')}, id LIMIT 1`,
    'lost, to be rescued': `SELECT * FROM ${via('rescuable')} WHERE finished_at IS NULL AND options LIKE '%"onWorkerLost"%' AND ${by('rescuable', 'lease_until')} <= ${late} ORDER BY ${by('rescuable', 'lease_until')}, id LIMIT 100`,
    expired: `SELECT * FROM ${via('expiring')} WHERE finished_at IS NULL AND expires IS NOT NULL AND lease_until IS NULL AND status <> 'SCHEDULED' AND ${by('expiring', 'expires')} <= ${late} ORDER BY ${by('expiring', 'expires')}, id LIMIT 100`,
  }
}

const SIDES = { 'a column of its own': LEDGER.task_result, '(finished_at, x)': composite }
const told = {}
const use = (name) => run(`USE taskledger_bench_${Object.keys(SIDES).indexOf(name)}`)

await run('SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED')
for (const [side, [name, columns]] of Object.entries(SIDES).entries()) {
  const marker = columns === LEDGER.task_result
  await run(`DROP DATABASE IF EXISTS taskledger_bench_${side}`)
  await run(`CREATE DATABASE taskledger_bench_${side}`)
  await use(name)
  await run(`CREATE TABLE task_result (${columns}) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_nopad_bin`)
  await run(`ALTER TABLE task_result ${marker ? EXPIRING.up : 'ADD KEY task_result_root (root_id, id)'}`)
  told[name] = { 'rows written, s': Math.round((await ms(() => run(row(1, ROWS)))) / 100) / 10 }
  await run(
    row(ROWS + 1, ROWS + SCHEDULED, {
      ...unfinished,
      status: `'SCHEDULED'`,
      published_at: 'NULL',
      eta: 'n + 5000000',
      expires: 'n + 6000000',
    }),
  )
  for (const [n, given] of [{ published_at: 'n' }, { published_at: 'NULL' }, { published_at: 'NULL', eta: 'n - 1200000' }].entries())
    await run(row(ROWS + SCHEDULED + n * OPEN + 1, ROWS + SCHEDULED + (n + 1) * OPEN, { ...unfinished, status: `'PENDING'`, ...given }))
  // lost, and their task says nothing of it
  await run(row(1_300_001, 1_310_000, { ...unfinished, status: `'STARTED'`, lease_until: 'n', worker_id: `'gone'` }))
  await run('ANALYZE TABLE task_result')
  const [{ size }] = await run(
    "SELECT round(index_length / 1048576) AS size FROM information_schema.tables WHERE table_schema = database() AND table_name = 'task_result'",
  )
  told[name]['indexes, MB'] = Number(size)
  for (const [query, text] of Object.entries(QUERIES(marker))) told[name][`${query}, ms`] = await best(() => run(text))
}
// in turns: a disk and its neighbours are not the same from one minute to the next
const times = Object.fromEntries(Object.keys(SIDES).map((name) => [name, []]))
for (let turn = 0; turn < TURNS; turn++) {
  for (const name of Object.keys(SIDES)) {
    await use(name)
    times[name].push(await ms(() => cycles(2_000_000 + turn * CYCLES)))
  }
}
for (const name of Object.keys(SIDES)) {
  told[name]['tasks published, started and ended, per s'] = times[name].map((time) => Math.round((CYCLES * 1000) / time)).join(', ')
}
for (const name of Object.keys(SIDES)) console.log(name, told[name])
for (const side of [0, 1]) await run(`DROP DATABASE taskledger_bench_${side}`)
await db.end()
