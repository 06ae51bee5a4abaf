import assert from 'node:assert/strict'
import { findBareResults, quoteResult } from '../../src/lib/ledger/fix-json.js'
import { putRow, storedRow } from '../helpers/rows.js'
import { openWorld } from '../helpers/world.js'

const VALID = ['1', '"text"', 'null', '{"a":1}', '[]', null]
const BARE = ['done', 'it\'s a "quote"\nand a line', '', '{broken', 'undefined', "{'a': 1}"]

describe('results that are bare text', () => {
  it('become the JSON strings they were meant as, and valid ones stay as they are', async () => {
    await using w = await openWorld()
    for (const [n, result] of [...VALID, ...BARE].entries()) await putRow(w.database, { task_id: `t${n}`, status: 'SUCCESS', result })
    const before = await Promise.all([...VALID, ...BARE].map((_, n) => storedRow(w.database, `t${n}`)))

    const dry = await w.app.tasks.fixJson(true)
    assert.deepEqual([dry.inspected, dry.fixed.map(({ text }) => text)], [VALID.length + BARE.length, BARE])
    assert.deepEqual(await storedRow(w.database, `t${VALID.length}`), before[VALID.length])

    const { inspected, fixed } = await w.app.tasks.fixJson(false)
    assert.deepEqual([inspected, fixed.length], [VALID.length + BARE.length, BARE.length])
    for (const [n, row] of before.entries()) {
      const result = n < VALID.length ? row.result : JSON.stringify(BARE[n - VALID.length])
      assert.deepEqual(await storedRow(w.database, row.task_id), { ...row, result }, 'not even a time is touched')
    }
    assert.deepEqual((await w.app.tasks.fixJson(false)).fixed, [])
  })

  it('are looked for a page at a time', async () => {
    await using w = await openWorld()
    for (const n of [1, 2, 3]) await putRow(w.database, { task_id: `t${n}`, status: 'SUCCESS', result: `bare ${n}` })
    const first = await findBareResults(w.database, 0, 2)
    const second = await findBareResults(w.database, first.last, 2)
    const third = await findBareResults(w.database, second.last, 2)
    assert.deepEqual(
      [first, second, third].map(({ bare, inspected }) => [bare.map(({ taskId }) => taskId).join(' '), inspected]),
      [
        ['t1 t2', 2],
        ['t3', 1],
        ['', 0],
      ],
    )
  })

  it('are left alone when they have changed since they were looked at', async () => {
    await using w = await openWorld()
    await putRow(w.database, { task_id: 't', status: 'SUCCESS', result: 'bare' })
    const { bare } = await findBareResults(w.database, 0, 10)
    await w.database.run("UPDATE task_result SET result = '1'", [])
    assert.equal(await w.database.write(async (sql) => (bare[0] ? quoteResult(sql, bare[0]) : null)), false)
    assert.equal((await storedRow(w.database, 't')).result, '1')
  })
})
