import assert from 'node:assert/strict'
import { attemptsOf, recordAttempt } from '../../src/lib/ledger/attempts.js'
import { DAWN, openWorld } from '../helpers/world.js'

describe('the history of a task', () => {
  it('numbers its lines from 1 and keeps them in order, apart from those of other tasks', async () => {
    await using w = await openWorld()
    const error = { type: 'FetchError', message: 'no', traceback: 'at x' }
    await w.database.write(async (sql) => {
      await recordAttempt(sql, 'a', 'retry', 'w1', error, DAWN)
      await recordAttempt(sql, 'b', 'failure', 'w1', error, DAWN + 1)
      await recordAttempt(sql, 'a', 'send-failed', null, null, DAWN + 2)
    })
    await w.database.write((sql) => recordAttempt(sql, 'a', 'failure', 'w2', error, DAWN))
    assert.deepEqual(
      (await attemptsOf(w.database, 'a')).map(({ seq, kind, workerId, at }) => [seq, kind, workerId, at.getTime() - DAWN]),
      [
        [1, 'retry', 'w1', 0],
        [2, 'send-failed', null, 2],
        [3, 'failure', 'w2', 0],
      ],
    )
    assert.deepEqual((await attemptsOf(w.database, 'b'))[0], {
      seq: 1,
      at: new Date(DAWN + 1),
      kind: 'failure',
      workerId: 'w1',
      errorType: 'FetchError',
      errorMessage: 'no',
      traceback: 'at x',
    })
  })

  it('is empty for a task that ended well at once, or is not known', async () => {
    await using w = await openWorld()
    assert.deepEqual(await attemptsOf(w.database, 'a'), [])
  })
})
