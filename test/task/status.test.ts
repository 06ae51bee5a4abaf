import assert from 'node:assert/strict'
import { FINAL_STATUSES, isFinal, MOVES, STATUSES } from '../../src/lib/task/status.js'
import { openWorld } from '../helpers/world.js'

describe('a status', () => {
  it('is final exactly when no move leaves it', () => {
    assert.deepEqual([...FINAL_STATUSES].sort(), ['FAILURE', 'IGNORED', 'REVOKED', 'SCHEDULED_SENT', 'SUCCESS'])
    for (const status of STATUSES) assert.equal(isFinal(status), MOVES[status].length === 0, status)
  })

  it('is open when a task has set it itself', () => {
    assert.equal(isFinal('UPLOADING'), false)
  })

  it('leads only to a status there is, and every final one can be reached', () => {
    const reached = new Set<string>(STATUSES.flatMap((status) => MOVES[status]))
    assert.deepEqual(
      [...reached].filter((status) => !STATUSES.some((known) => known === status)),
      [],
    )
    for (const status of FINAL_STATUSES) assert.ok(reached.has(status), status)
  })

  it('is never left for SCHEDULED, and for PENDING only by a started task that is given back', () => {
    for (const status of STATUSES) {
      const next: readonly string[] = MOVES[status]
      assert.ok(!next.includes('SCHEDULED'), status)
      assert.equal(next.includes('PENDING'), status === 'STARTED', status)
    }
  })

  it('goes with the time it ended in the table exactly when it is final, custom ones included', async () => {
    await using w = await openWorld()
    for (const status of [...STATUSES, 'UPLOADING']) {
      for (const finishedAt of [null, 1]) {
        const insert = w.database.run(
          `INSERT INTO task_result (task_id, task, args, kwargs, status, queue, exchange, routing_key, priority, retries, root_id, options, submitted_at, updated_at, finished_at)
           VALUES (?, 't', '[]', '{}', ?, 'q', '', 'q', 0, 0, 'r', '{}', 0, 0, ?)`,
          [`${status}-${finishedAt}`, status, finishedAt],
        )
        if (isFinal(status) === (finishedAt !== null)) assert.equal(await insert, 1, status)
        else await assert.rejects(insert, /task_result_finished_at_iff_final/, status)
      }
    }
  })
})
