import assert from 'node:assert/strict'
import { attemptsOf } from '../../src/lib/ledger/attempts.js'
import { findTask } from '../../src/lib/ledger/find.js'
import { recordSetback, recordWatched, updateHeard, updateWatched } from '../../src/lib/ledger/watched.js'
import { inWordsOf } from '../helpers/databases.js'
import { type Columns, putRow, storedRow, watchedColumns } from '../helpers/rows.js'
import { DAWN, openWorld } from '../helpers/world.js'

const WATCHED = JSON.stringify({ watched: 'celery amqp://host:5672/', headers: { a: 1 }, unreadable: ['args'] })

const columns = watchedColumns()

/** Half of a character, with which MariaDB takes no text for JSON. */
const LONE = inWordsOf({ sqlite: '\ud800', postgres: '\ud800', mysql: '' })

describe('a watched row', () => {
  it('takes what a watch writes, and keeps the options that are none of its', async () => {
    await using w = await openWorld()
    await putRow(w.database, { task_id: 'id-1', options: WATCHED })
    assert.ok(await updateWatched(w.database, 'id-1', columns, '{"unreadable":null,"received":{"host":"w","at":1}}'))
    const { status, worker_id, options } = await storedRow(w.database, 'id-1')
    assert.deepEqual([status, worker_id], ['STARTED', 'w1@host'])
    assert.deepEqual(JSON.parse(options), { watched: 'celery amqp://host:5672/', headers: { a: 1 }, received: { host: 'w', at: 1 } })
  })

  it('keeps the rest of its options as it was, whatever text is there, when one is replaced, added or taken away', async () => {
    await using w = await openWorld()
    const odd = { a: '\u0000\u0000 \\u0000 \\', b: [LONE, '\ud83d\ude00', 'null'], 'c\u0000"': { deep: [null, 1.5, {}] } }
    await putRow(w.database, {
      task_id: 'id-1',
      options: JSON.stringify({ watched: 'w', headers: odd, unreadable: ['args', 'result'], link: [odd] }),
    })
    const steps: readonly (readonly [patch: object, left: object])[] = [
      [{ unreadable: ['result'] }, { unreadable: ['result'] }],
      [{ unreadable: null, alsoRunning: null }, {}],
      [{ redacted: ['kwargs.null', 'x\u0000'] }, { redacted: ['kwargs.null', 'x\u0000'] }],
      [{ received: { host: 'null', at: 1 }, redacted: null }, { received: { host: 'null', at: 1 } }],
      [{ received: { host: 'w', at: 2 } }, { received: { host: 'w', at: 2 } }],
      [{}, { received: { host: 'w', at: 2 } }],
    ]
    for (const [patch, left] of steps) {
      assert.ok(await updateWatched(w.database, 'id-1', columns, JSON.stringify(patch)))
      const { options } = await storedRow(w.database, 'id-1')
      assert.deepEqual(JSON.parse(options), { watched: 'w', headers: odd, link: [odd], ...left }, JSON.stringify(patch))
    }
    const { options } = await storedRow(w.database, 'id-1')
    assert.equal(options.split('"received"').length, 2)
  })

  const others: Readonly<Record<string, Partial<Columns>>> = {
    'that has ended': { options: WATCHED, status: 'SUCCESS' },
    'that a worker of our own has had': { options: WATCHED, deliveries: 1 },
    'that our own program published': { options: '{}' },
  }
  for (const [name, given] of Object.entries(others)) {
    it(`is no row ${name}, whoever looked at it before`, async () => {
      await using w = await openWorld()
      await putRow(w.database, { task_id: 'id-1', ...given })
      const before = await storedRow(w.database, 'id-1')
      assert.equal(await updateWatched(w.database, 'id-1', columns, '{}'), false)
      assert.equal(await recordWatched(w.database, 'id-1', columns, WATCHED), false)
      assert.deepEqual(await storedRow(w.database, 'id-1'), before)
    })
  }

  const kept: Readonly<Record<string, Partial<Columns>>> = {
    'has ended': { status: 'SUCCESS' },
    'is scheduled': { status: 'SCHEDULED' },
    'a worker of our own has taken': { status: 'STARTED', deliveries: 1, worker_id: 'ours', lease_until: DAWN },
    'a worker of our own has made wait for a retry': { status: 'RETRY', retries: 1 },
  }
  for (const [name, given] of Object.entries(kept)) {
    it(`that was published here and ${name} since it was looked at stays as it is`, async () => {
      await using w = await openWorld()
      await putRow(w.database, { task_id: 'looked-at' })
      await putRow(w.database, { task_id: 'id-1', ...given })
      const before = await storedRow(w.database, 'id-1')
      const read = await findTask(w.database, 'looked-at')
      assert.ok(read)
      assert.equal(await updateHeard(w.database, { ...read, taskId: 'id-1' }, columns, '{}'), false)
      assert.deepEqual(await storedRow(w.database, 'id-1'), before)
      assert.ok(await updateHeard(w.database, read, columns, '{}'))
    })
  }

  it('has one line of history for each event, in the order they were told', async () => {
    await using w = await openWorld()
    const error = { type: 'ConnectionError', message: 'no', traceback: null }
    for (const at of [2, 1, 2, 1]) await recordSetback(w.database, 'id-1', 'retry', 'w1@host', error, DAWN + at)
    await recordSetback(w.database, 'id-1', 'failure', 'w1@host', error, DAWN + 2)
    const lines = (await attemptsOf(w.database, 'id-1')).map(({ seq, at, kind }) => [seq, kind, Number(at) - DAWN])
    assert.deepEqual(lines, [
      [1, 'retry', 2],
      [2, 'retry', 1],
      [3, 'failure', 2],
    ])
  })
})
