import assert from 'node:assert/strict'
import { findTask } from '../../src/lib/ledger/find.js'
import { messageOf, UnsendableRowError } from '../../src/lib/ledger/row.js'
import { type Columns, putRow } from '../helpers/rows.js'
import { DAWN, openWorld, type World } from '../helpers/world.js'

async function read(w: World, columns: Columns) {
  await putRow(w.database, columns)
  const row = await findTask(w.database, columns.task_id)
  assert.ok(row)
  return row
}

describe('a row that is read', () => {
  it('has instants as dates, and null where there is none', async () => {
    await using w = await openWorld()
    const row = await read(w, { task_id: 't', eta: DAWN + 1, result_expires_at: null })
    assert.deepEqual([row.eta, row.submittedAt, row.resultExpiresAt], [new Date(DAWN + 1), new Date(DAWN), null])
  })

  it('has SQL NULL and the text null both as a null result', async () => {
    await using w = await openWorld()
    assert.equal((await read(w, { task_id: 'a', result: null })).result, null)
    assert.equal((await read(w, { task_id: 'b', result: 'null' })).result, null)
  })

  it('has the text itself where a column holds no JSON', async () => {
    await using w = await openWorld()
    const row = await read(w, { task_id: 't', args: '[1', kwargs: '{', result: 'bare "text"', options: '{"a"', meta: 'x' })
    assert.deepEqual([row.args, row.kwargs, row.result, row.options, row.meta], ['[1', '{', 'bare "text"', {}, 'x'])
  })
})

describe('the message of a row', () => {
  const refused = (expected: RegExp) => (error: Error) => error instanceof UnsendableRowError && expected.test(error.message)

  it('cannot be made from arguments that are redacted, and the error names them', async () => {
    await using w = await openWorld()
    const row = await read(w, { task_id: 't', options: '{"redacted":["kwargs.token","args[0]"]}' })
    assert.throws(() => messageOf(row), refused(/^its arguments are redacted \(kwargs\.token, args\[0]\)$/))
  })

  it('cannot be made from arguments that are not the JSON a message carries', async () => {
    await using w = await openWorld()
    for (const [n, args] of ['[1', '{}', 'null', '"x"'].entries()) {
      const row = await read(w, { task_id: `args-${n}`, args })
      assert.throws(() => messageOf(row), refused(/^its args are missing or not a JSON array$/))
    }
    for (const [n, kwargs] of ['{', '[]', 'null', '1'].entries()) {
      const row = await read(w, { task_id: `kwargs-${n}`, kwargs })
      assert.throws(() => messageOf(row), refused(/^its kwargs are missing or not a JSON object$/))
    }
  })
})
