import assert from 'node:assert/strict'
import SqliteDatabase from 'better-sqlite3'
import { parse } from 'csv-parse/sync'
import fc from 'fast-check'
import { Database } from '../../src/lib/database/database.js'
import { migrateTo } from '../../src/lib/database/migrate.js'
import { type ExportChunk, type ExportOptions, exportRows } from '../../src/lib/ledger/export.js'
import { TASK_FIELDS } from '../../src/lib/ledger/fields.js'
import type { TaskFilter } from '../../src/lib/ledger/filter.js'
import { taskRow } from '../../src/lib/ledger/row.js'
import { FINAL_STATUSES, STATUSES } from '../../src/lib/task/status.js'
import { inWordsOf, itOnSqlite } from '../helpers/databases.js'
import { type Columns, putRow, storedRow } from '../helpers/rows.js'
import { DAWN, openWorld, type World } from '../helpers/world.js'

async function chunksOf(w: Pick<World, 'database'>, filter: TaskFilter, options: ExportOptions): Promise<ExportChunk[]> {
  const chunks: ExportChunk[] = []
  for await (const chunk of exportRows(w.database, filter, options)) chunks.push(chunk)
  return chunks
}

async function textOf(w: Pick<World, 'database'>, options: ExportOptions, filter: TaskFilter = {}): Promise<string> {
  return Buffer.concat((await chunksOf(w, filter, options)).map(({ bytes }) => bytes)).toString()
}

async function worldWith(...rows: readonly Columns[]): Promise<World> {
  const w = await openWorld()
  for (const row of rows) await putRow(w.database, row)
  return w
}

async function worldOf(count: number): Promise<World> {
  return worldWith(...Array.from({ length: count }, (_, i) => ({ task_id: `t${i}`, queue: i % 3 === 0 ? 'third' : 'default' })))
}

const idsIn = (ndjson: string): string[] => [...ndjson.matchAll(/"taskId":"([^"]*)"/g)].map(([, id]) => id ?? '')

/** Text with what JSON and CSV must escape in it. No lone surrogate: the database itself cannot hold one. */
const text = fc.string({
  unit: fc.oneof(
    fc.constantFrom('"', ',', '\t', '\n', '\r', "'", '=', '\\', '{', '\u2028', ' '),
    fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
  ),
})
const jsonText = fc.oneof(
  fc.json(),
  fc.json().map((valid) => JSON.stringify(JSON.parse(valid), null, 2)),
)
const instant = fc.integer({ min: 0, max: Date.UTC(9999, 11, 31) })
const orNull = <T>(some: fc.Arbitrary<T>) => fc.option(some, { nil: null })

/** What may stand in each column, whatever the program itself would ever write. */
const columns: fc.Arbitrary<Columns> = fc
  .record({
    task_id: fc.uuid(),
    task: text,
    args: jsonText,
    kwargs: jsonText,
    status: fc.constantFrom(...STATUSES),
    result: orNull(jsonText),
    error_type: orNull(text),
    error_message: orNull(text),
    traceback: orNull(text),
    queue: text,
    priority: fc.nat(255),
    eta: orNull(instant),
    expires: orNull(instant),
    retries: fc.nat(),
    max_retries: orNull(fc.nat()),
    worker_id: orNull(text),
    group_index: orNull(fc.nat()),
    options: fc.dictionary(fc.string(), fc.jsonValue()).map((options) => JSON.stringify(options)),
    meta: orNull(jsonText),
    submitted_at: instant,
    claimed_at: orNull(instant),
    updated_at: instant,
  })
  .map((row) => ({ ...row, finished_at: FINAL_STATUSES.some((final) => final === row.status) ? row.updated_at : null }))

describe('an export', () => {
  it('holds what matches, each row once, in the order it was recorded, whatever index finds it', async () => {
    await using w = await worldOf(301)
    const all = Array.from({ length: 301 }, (_, i) => `t${i}`)
    const third = all.filter((_, i) => i % 3 === 0)
    assert.deepEqual(idsIn(await textOf(w, { format: 'ndjson' })), all)
    assert.equal(JSON.parse(await textOf(w, { format: 'json' })).length, all.length)
    assert.deepEqual(idsIn(await textOf(w, { format: 'ndjson' }, { queue: 'third' })), third)
    assert.deepEqual(idsIn(await textOf(w, { format: 'ndjson' }, { since: new Date(DAWN), tasks: ['mail.*'] })), all)
    assert.deepEqual(idsIn(await textOf(w, { format: 'ndjson' }, { ids: ['t200', 't7', 'nowhere'] })), ['t7', 't200'])
  })

  it('says how many rows each chunk holds', async () => {
    await using w = await worldOf(250)
    for (const format of ['json', 'ndjson', 'csv', 'tsv'] as const) {
      const chunks = await chunksOf(w, {}, { format })
      assert.equal(
        chunks.reduce((sum, { rows }) => sum + rows, 0),
        250,
      )
      assert.ok(chunks.filter(({ rows }) => rows > 0).length > 2)
    }
  })

  it('of large rows holds each of them, and no more of them in one chunk than one', async () => {
    await using w = await openWorld()
    const large = JSON.stringify(['x'.repeat(50_000)])
    for (let i = 0; i < 130; i++)
      await putRow(w.database, { task_id: `t${i}`, ...((i >= 10 && i < 20) || i === 110 ? { args: large } : {}) })
    const chunks = await chunksOf(w, {}, { format: 'ndjson' })
    assert.deepEqual(
      idsIn(chunks.map(({ bytes }) => bytes.toString()).join('')),
      Array.from({ length: 130 }, (_, i) => `t${i}`),
    )
    assert.ok(Math.max(...chunks.map(({ bytes }) => bytes.length)) < 2 * large.length)
    assert.ok(chunks.length < 50)
  })

  it('of nothing is still whole', async () => {
    await using w = await openWorld()
    assert.deepEqual(JSON.parse(await textOf(w, { format: 'json' })), [])
    assert.equal(await textOf(w, { format: 'ndjson' }), '')
    assert.equal(await textOf(w, { format: 'csv' }), `${TASK_FIELDS.join(',')}\n`)
    assert.equal(await textOf(w, { format: 'tsv', fields: ['taskId', 'task'] }), 'taskId\ttask\n')
  })

  itOnSqlite('is in UTF-8 whatever encoding the file has', async () => {
    await using w = await openWorld()
    const file = `${w.folder}/utf16.db`
    new SqliteDatabase(file).exec("PRAGMA encoding = 'UTF-16'; CREATE TABLE other (n)").close()
    const database = await Database.open(`sqlite:${file}`, 'write')
    try {
      await migrateTo(database)
      await putRow(database, { task_id: 'a', queue: 'Žluťoučký 顧客' })
      const fields = ['queue']
      assert.equal(await textOf({ database }, { format: 'ndjson', fields }), '{"queue":"Žluťoučký 顧客"}\n')
      assert.equal(await textOf({ database }, { format: 'csv', fields }), 'queue\nŽluťoučký 顧客\n')
    } finally {
      await database.close()
    }
  })

  it('has the fields asked for, in that order', async () => {
    await using w = await worldWith({ task_id: 'a', eta: DAWN + 7, result: '{"n": 1}' })
    const fields = ['status', 'taskId', 'eta', 'expires', 'result']
    assert.equal(
      await textOf(w, { format: 'json', fields }),
      '[\n{"status":"PENDING","taskId":"a","eta":"2026-11-20T12:00:00.007Z","expires":null,"result":{"n":1}}\n]\n',
    )
    assert.equal(
      await textOf(w, { format: 'csv', fields }),
      'status,taskId,eta,expires,result\nPENDING,a,2026-11-20T12:00:00.007Z,,"{""n"":1}"\n',
    )
  })

  it('refuses a field that does not exist before anything is read, and names those that do', async () => {
    await using w = await openWorld()
    assert.throws(() => exportRows(w.database, {}, { format: 'csv', fields: ['task', 'task_id'] }), {
      name: 'UsageError',
      message: /there is no field named task_id; the fields are id, taskId, task, /,
    })
  })

  it('goes on past JSON that is broken, and keeps its text', async () => {
    const broken = {
      args: '[1,\n2',
      kwargs: 'NaN',
      result: `plain "text"${inWordsOf({ sqlite: '\0', postgres: '', mysql: '\0' })}`,
      options: '',
      meta: '{"a":1} {',
    }
    await using w = await worldWith({ task_id: 'a', ...broken }, { task_id: 'b' })
    const fields = ['args', 'kwargs', 'result', 'options', 'meta']
    const [first, second] = (await textOf(w, { format: 'ndjson', fields })).split('\n').map((line) => line && JSON.parse(line))
    assert.deepEqual(first, broken)
    assert.deepEqual(second, { args: ['a@b.c'], kwargs: { subject: 'hello' }, result: null, options: {}, meta: null })
    const [cells] = parse<Record<string, string>>(await textOf(w, { format: 'csv', fields }), { columns: true })
    for (const [field, kept] of Object.entries(broken)) assert.equal(JSON.parse(cells?.[field] ?? ''), kept)
  })
})

describe('an exported row', () => {
  it('is in NDJSON and JSON what the ledger itself says of it', async () => {
    await using w = await openWorld()
    const rows: unknown[] = []
    await fc.assert(
      fc.asyncProperty(columns, async (row) => {
        await putRow(w.database, row)
        const known = JSON.parse(JSON.stringify(taskRow(await storedRow(w.database, row.task_id))))
        rows.push(known)
        const line = await textOf(w, { format: 'ndjson' }, { ids: [row.task_id] })
        assert.equal(line.indexOf('\n'), line.length - 1)
        assert.deepEqual(JSON.parse(line), known)
        assert.deepEqual(Object.keys(JSON.parse(line)), Object.keys(known))
      }),
    )
    assert.deepEqual(JSON.parse(await textOf(w, { format: 'json' })), rows)
  })

  for (const [format, delimiter] of [
    ['csv', ','],
    ['tsv', '\t'],
  ] as const) {
    it(`reads back from ${format.toUpperCase()} cell by cell, JSON as its text and null as nothing`, async () => {
      await using w = await openWorld()
      await fc.assert(
        fc.asyncProperty(columns, async (row) => {
          await putRow(w.database, row)
          const { args, kwargs, result, options, meta, ...rest } = taskRow(await storedRow(w.database, row.task_id))
          const [cells, ...others] = parse<Record<string, string>>(await textOf(w, { format }, { ids: [row.task_id] }), {
            columns: true,
            delimiter,
            record_delimiter: '\n',
          })
          assert.equal(others.length, 0)
          for (const [field, value] of Object.entries(rest)) {
            assert.equal(cells?.[field], value instanceof Date ? value.toISOString() : String(value ?? ''), field)
          }
          for (const [field, value] of Object.entries({ args, kwargs, result, options, meta })) {
            assert.deepEqual(JSON.parse(cells?.[field] || 'null'), value, field)
          }
        }),
      )
    })
  }

  it('is a line of its own even where its only field is empty', async () => {
    await using w = await worldWith({ task_id: 'a' }, { task_id: 'b', error_type: 'E' }, { task_id: 'c' })
    assert.equal(await textOf(w, { format: 'csv', fields: ['errorType'] }), 'errorType\n""\nE\n""\n')
  })

  it('is no formula for a spreadsheet, when that is asked for', async () => {
    const formulas = ['=1+1', '+1', '-1', '@a', '\ta', '\ra', 'a=1']
    await using w = await worldWith(...formulas.map((error_message, i) => ({ task_id: `t${i}`, error_message, priority: -i })))
    const fields = ['errorMessage', 'priority']
    const read = async (excelSafe: boolean) => {
      const rows = parse<Record<string, string>>(await textOf(w, { format: 'csv', fields, excelSafe }), {
        columns: true,
        record_delimiter: '\n',
      })
      return rows.map((row) => row['errorMessage'])
    }
    assert.deepEqual(await read(false), formulas)
    assert.deepEqual(await read(true), ["'=1+1", "'+1", "'-1", "'@a", "'\ta", "'\ra", 'a=1'])
  })
})
