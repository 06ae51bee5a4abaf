import assert from 'node:assert/strict'
import { refusalOfWatched } from '../../src/lib/app/watched.js'
import { findTask } from '../../src/lib/ledger/find.js'
import type { TaskRow } from '../../src/lib/ledger/row.js'
import { copyOf, type ResendTerms } from '../../src/lib/publish/resend.js'
import { beatSession, beginSession } from '../../src/lib/watch/session.js'
import { takeAll } from '../helpers/messages.js'
import { type Columns, putRow } from '../helpers/rows.js'
import { DAWN, openWorld, type World } from '../helpers/world.js'

const CLUSTER = 'celery amqp://host:5672/'
const RABBITMQ = 'amqp://guest:guest@host'

async function watchedRow({ database }: World, columns: Partial<Columns> = {}): Promise<TaskRow> {
  await putRow(database, { task_id: 'id-1', options: JSON.stringify({ watched: CLUSTER }), ...columns })
  return (await findTask(database, 'id-1')) as TaskRow
}

const refusal = (w: World, row: TaskRow, terms: ResendTerms = {}, broker = RABBITMQ) =>
  refusalOfWatched(row, terms, broker, w.database, w.clock.now())

describe('a watched task that is to be sent again', () => {
  it('is refused where the broker leads to no worker of Celery’s, whatever is forced', async () => {
    await using w = await openWorld()
    const row = await watchedRow(w, { status: 'FAILURE' })
    for (const broker of ['sql:', 'redis://:secret@host']) {
      const why = `it is a task of Celery's (${CLUSTER}), and the broker ${broker.split('//')[0]} leads to none of its workers; give --broker amqp://…`
      for (const force of [false, true]) assert.equal(await refusal(w, row, { force }, broker), why)
    }
    for (const broker of [RABBITMQ, 'amqps://host']) assert.equal(await refusal(w, row, {}, broker), null)
    const [resent] = await w.app.tasks.retry([row], { force: true })
    if (w.carrier) assert.equal((await takeAll(w))[0]?.id, resent?.newTaskId)
    else assert.match(resent?.error ?? '', /^it is a task of Celery's/)
  })

  it('is no business of this check when it is one of our own', async () => {
    await using w = await openWorld()
    assert.equal(await refusal(w, await watchedRow(w, { options: '{}' }), {}, 'sql:'), null)
  })

  it('needs a queue that an event told, or one that is given', async () => {
    await using w = await openWorld()
    const row = await watchedRow(w, { status: 'FAILURE', queue: '' })
    assert.equal(await refusal(w, row), 'its queue is not known: no event told it; --to-queue names one')
    assert.equal(await refusal(w, row, { queue: 'sums' }), null)
  })

  it('is refused while it may have ended with nobody watching, unless it is forced', async () => {
    await using w = await openWorld()
    const row = await watchedRow(w)
    const unseen =
      'it was last heard of at 2026-11-20T12:00:00.000Z, and was not watched all the time since: it may have ended; --force sends it'
    assert.equal(await refusal(w, row), unseen)
    await w.database.write((sql) => beginSession(sql, CLUSTER, DAWN + 30_000, DAWN))
    assert.equal(await refusal(w, row), null)
    w.clock.advance(1000)
    await w.database.write((sql) => beatSession(sql, CLUSTER, DAWN + 1000, DAWN + 1000))
    assert.equal(await refusal(w, row), unseen)
    await w.database.write((sql) => beginSession(sql, CLUSTER, DAWN + 60_000, DAWN + 1000))
    assert.equal(await refusal(w, row), unseen)
    assert.equal(await refusal(w, row, { force: true }), null)
  })

  it('has a copy that is watched as well, so that Celery’s events tell what becomes of it', async () => {
    await using w = await openWorld()
    const options = { watched: CLUSTER, unreadable: ['result'], received: { host: 'w1@host', at: DAWN } }
    const row = await watchedRow(w, { status: 'SUCCESS', options: JSON.stringify(options) })
    assert.deepEqual(copyOf(row, {}, DAWN).options, { watched: CLUSTER })
  })
})
