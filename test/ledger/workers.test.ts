import assert from 'node:assert/strict'
import { beat, removeSilentWorkers, removeWorker } from '../../src/lib/ledger/workers.js'
import { DAWN, openWorld } from '../helpers/world.js'

const worker = (workerId: string) => ({ workerId, host: 'h', pid: 1, queues: ['default'] })

describe('a worker', () => {
  it('is alive until its lease ends, and each beat renews it', async () => {
    await using w = await openWorld()
    await w.database.write((sql) => beat(sql, worker('a'), DAWN + 10, DAWN))
    await w.database.write((sql) => beat(sql, worker('b'), DAWN + 10, DAWN))
    await w.database.write((sql) => beat(sql, worker('a'), DAWN + 20, DAWN + 10))
    assert.deepEqual(await w.database.all('SELECT worker_id, started_at, beat_at, lease_until FROM task_worker ORDER BY worker_id', []), [
      { worker_id: 'a', started_at: DAWN, beat_at: DAWN + 10, lease_until: DAWN + 20 },
      { worker_id: 'b', started_at: DAWN, beat_at: DAWN, lease_until: DAWN + 10 },
    ])
  })

  it('leaves nothing after an orderly stop, and is forgotten once it has long been silent', async () => {
    await using w = await openWorld()
    for (const id of ['a', 'b', 'c']) await w.database.write((sql) => beat(sql, worker(id), id === 'c' ? DAWN + 11 : DAWN + 10, DAWN))
    await w.database.write((sql) => removeWorker(sql, 'a'))
    assert.equal(await w.database.write((sql) => removeSilentWorkers(sql, DAWN + 10)), 1)
    assert.deepEqual(await w.database.all('SELECT worker_id FROM task_worker', []), [{ worker_id: 'c' }])
  })
})
