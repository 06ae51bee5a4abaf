import assert from 'node:assert/strict'
import { claimUntold, keepUntold, removeTold, type Untold } from '../../src/lib/ledger/celery-outbox.js'
import { DAWN, openWorld, type World } from '../helpers/world.js'

const LEASE = 30_000

const untold = (taskId: string, status = 'SUCCESS', at = DAWN): Untold => ({ taskId, status, at, ending: JSON.stringify([taskId, status]) })

const keep = (w: World, line: Untold, heldUntil: number) => w.database.write((sql) => keepUntold(sql, line, heldUntil))
const claim = async (w: World, now: number, limit = 10) =>
  (await w.database.write((sql) => claimUntold(sql, now, now + LEASE, limit))).map((ending) => JSON.parse(ending))

describe("what Celery's clients are still to be told", () => {
  it('is taken up once nobody holds it any more, by one process alone', async () => {
    await using w = await openWorld()
    await keep(w, untold('a'), DAWN + LEASE)
    assert.deepEqual(await claim(w, DAWN + LEASE - 1), [])
    assert.deepEqual(await claim(w, DAWN + LEASE), [['a', 'SUCCESS']])
    assert.deepEqual(await claim(w, DAWN + LEASE), [])
    assert.deepEqual(await claim(w, DAWN + 2 * LEASE), [['a', 'SUCCESS']])
  })

  it('is taken up in the order in which the tasks ended, no more than asked for', async () => {
    await using w = await openWorld()
    await keep(w, untold('b', 'FAILURE', DAWN + 2), DAWN + 1)
    await keep(w, untold('a', 'SUCCESS', DAWN + 3), DAWN + 1)
    await keep(w, untold('c', 'SUCCESS', DAWN + 1), DAWN + 2)
    assert.deepEqual(await claim(w, DAWN + 9, 2), [
      ['b', 'FAILURE'],
      ['a', 'SUCCESS'],
    ])
    assert.deepEqual(await claim(w, DAWN + 9, 2), [['c', 'SUCCESS']])
  })

  it('of a task that waited for a retry is what became of it, and stays when the retry alone was told', async () => {
    await using w = await openWorld()
    await keep(w, untold('a', 'RETRY'), DAWN)
    await keep(w, untold('a', 'SUCCESS'), DAWN)
    await removeTold(w.database, untold('a', 'RETRY'))
    assert.deepEqual(await claim(w, DAWN), [['a', 'SUCCESS']])
    await removeTold(w.database, untold('a', 'SUCCESS'))
    assert.deepEqual(await claim(w, DAWN + 2 * LEASE), [])
  })
})
