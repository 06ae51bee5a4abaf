import assert from 'node:assert/strict'
import { compareStatuses, FINAL_STATUSES, isFinal, MOVES, STATUSES } from '../../src/lib/task/status.js'
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

  it('compares as in Celery, where a status that Celery does not know stands between FAILURE and REVOKED', () => {
    const order = ['SUCCESS', 'FAILURE', 'PROGRESS', 'REVOKED', 'STARTED', 'RECEIVED', 'REJECTED', 'RETRY', 'PENDING']
    for (const [at, higher] of order.entries()) {
      assert.equal(compareStatuses(higher, higher), 0, higher)
      for (const lower of order.slice(at + 1)) {
        assert.ok(compareStatuses(higher, lower) > 0, `${higher} > ${lower}`)
        assert.ok(compareStatuses(lower, higher) < 0, `${lower} < ${higher}`)
      }
    }
    for (const own of ['SCHEDULED', 'SCHEDULED_SENT', 'IGNORED', 'UPLOADING']) assert.equal(compareStatuses(own, 'PROGRESS'), 0, own)
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
