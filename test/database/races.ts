import assert from 'node:assert/strict'
import { begin } from '../../src/lib/canvas/launch.js'
import type { Arrival } from '../../src/lib/canvas/settle.js'
import { arrive } from '../../src/lib/ledger/arrivals.js'
import { attemptsOf, recordAttempt } from '../../src/lib/ledger/attempts.js'
import { moveToSuccess } from '../../src/lib/ledger/ends.js'
import { groupOf, membersOf, recordGroup } from '../../src/lib/ledger/groups.js'
import { takeTurn } from '../../src/lib/ledger/rate.js'
import { TaskIdTakenError } from '../../src/lib/publish/publisher.js'
import { newTaskId } from '../../src/lib/task/id.js'
import type { Databases } from '../helpers/databases.js'
import { start } from '../helpers/lives.js'
import { aMessage, putRow, storedRow } from '../helpers/rows.js'
import { si } from '../helpers/workflows.js'
import { DAWN, type Member, openWorld, type World } from '../helpers/world.js'

const PLACE = { rootId: null, parentId: null, deadline: null, now: DAWN, newId: () => newTaskId(), defaultQueue: 'default', routes: {} }

const range = (count: number): number[] => Array.from({ length: count }, (_, n) => n)

/** Four programs on one ledger. */
const four = async (w: World): Promise<readonly Member[]> => [w, await w.join(), await w.join(), await w.join()]

/** Has each program do each of these at one time, each in a commit of its own. */
const together = <T>(members: readonly Member[], times: number, act: (member: Member, n: number) => Promise<T>): Promise<T[]> =>
  Promise.all(range(times).flatMap((n) => members.map((member, m) => act(member, n * members.length + m))))

const sorted = (numbers: readonly number[]): number[] => [...numbers].sort((a, b) => a - b)

/** What several programs do at one time on a server's database. */
export function races(databases: Databases): void {
  const open = () => openWorld({ databases })

  describe('programs that do the same at one time', () => {
    it('write a history without gaps', async () => {
      await using w = await open()
      const members = await four(w)
      await together(members, 25, ({ database }, n) => database.write((sql) => recordAttempt(sql, 'a', 'late-result', `w${n}`, null, DAWN)))
      const history = await attemptsOf(w.database, 'a')
      assert.deepEqual(
        history.map(({ seq }) => seq),
        range(100).map((n) => n + 1),
      )
      assert.equal(new Set(history.map(({ workerId }) => workerId)).size, 100)
    })

    it('send one copy of a row, however many operators ask for one', async () => {
      await using w = await open()
      const members = await four(w)
      for (const n of range(20)) await putRow(w.database, { task_id: `t${n}`, status: 'FAILURE' })
      const answers = await Promise.all(members.map(({ app }) => app.tasks.retry({ statuses: ['FAILURE'] })))
      const sent = answers.flat().filter(({ error }) => error === null)
      assert.deepEqual(
        sent.map(({ taskId }) => taskId).sort(),
        range(20)
          .map((n) => `t${n}`)
          .sort(),
      )
      assert.equal(await w.app.tasks.count({ statuses: ['PENDING'] }), 20)
      for (const { error } of answers.flat()) if (error) assert.match(error, /^it was sent again before, as /)
    })

    it('publish under one id once', async () => {
      await using w = await open()
      const members = await four(w)
      const publishes = await Promise.allSettled(members.map(({ app }) => app.sendTask('add', [1], { taskId: 'mine' })))
      const workflows = members.map(({ publisher }) => publisher.publishCanvas(begin(si('add', [1], { taskId: 'part' }), [], PLACE)))
      for (const settled of [publishes, await Promise.allSettled(workflows)]) {
        assert.equal(settled.filter(({ status }) => status === 'fulfilled').length, 1)
        for (const one of settled) if (one.status === 'rejected') assert.ok(one.reason instanceof TaskIdTakenError, String(one.reason))
      }
      const messages = await w.database.all<{ task_id: string }>('SELECT task_id FROM task_message ORDER BY task_id', [])
      assert.deepEqual(messages, [{ task_id: 'mine' }, { task_id: 'part' }])
    })

    it('count every arrival of a chord, and one of them is the last', async () => {
      await using w = await open()
      const members = await four(w)
      const ids = range(100).map((n) => `m${n}`)
      const record = { groupId: 'g', members: ids, body: si('sum', [], { taskId: 'body' }), rootId: 'r', parentId: null, deadline: null }
      await w.database.write((sql) => recordGroup(sql, record, DAWN))
      const arrivals = await together(members, 25, ({ database }, n) => {
        const arrival: Arrival = {
          groupId: 'g',
          groupIndex: n,
          taskId: `m${n}`,
          task: 'add',
          end: { status: 'SUCCESS', value: n },
          culprit: '',
        }
        return database.write((sql) => arrive(sql, arrival, DAWN))
      })
      assert.equal(arrivals.filter(({ kind }) => kind === 'complete').length, 1)
      const group = await groupOf(w.database, 'g')
      assert.deepEqual([group?.remaining, group?.failed], [0, 0])
    })

    it('add to a group one after the other', async () => {
      await using w = await open()
      const members = await four(w)
      const record = { groupId: 'g', members: ['m0'], body: null, rootId: 'r', parentId: null, deadline: null }
      await w.database.write((sql) => recordGroup(sql, record, DAWN))
      const message = aMessage({ id: 'm0', groupId: 'g', groupIndex: 0 })
      await together(members, 10, ({ database, follower }) =>
        database.write((sql) => follower.add(sql, message, [si('add', [1]), si('add', [2])])),
      )
      const group = await groupOf(w.database, 'g')
      assert.deepEqual([group?.size, group?.remaining], [81, 81])
      assert.deepEqual(
        (await membersOf(w.database, 'g')).map(({ index }) => index),
        range(81),
      )
    })

    it('take turns of a rate-limited task, each one its own', async () => {
      await using w = await open()
      const members = await four(w)
      const turns = await together(members, 25, ({ database }) => database.write((sql) => takeTurn(sql, 'limited', 1000, DAWN)))
      assert.deepEqual(
        sorted(turns),
        range(100).map((n) => DAWN + n * 1000),
      )
    })

    it('claim what is due without sharing a row', async () => {
      await using w = await open()
      const members = await four(w)
      for (const n of range(60)) await putRow(w.database, { task_id: `t${n}`, status: 'SCHEDULED', eta: DAWN - 100 + n })
      const sent = (await Promise.all(members.map(({ app }) => app.tasks.sendScheduled()))).flat()
      assert.equal(sent.length, 60)
      assert.equal(new Set(sent.map(({ newTaskId }) => newTaskId)).size, 60)
      for (const { taskId, newTaskId } of sent) assert.equal((await storedRow(w.database, taskId)).scheduled_id, newTaskId)
      assert.equal((await w.database.all('SELECT 1 FROM task_message', [])).length, 60)
    })

    it('end a task one way: a revoke and a success agree on which it was', async () => {
      await using w = await open()
      const other = await w.join()
      const results = await Promise.all(range(30).map((n) => w.app.sendTask('add', [n])))
      for (const { id } of results) {
        const owner = await start(w, id)
        const [ended, [revoked]] = await Promise.all([
          w.database.write((sql) => moveToSuccess(sql, owner, '1', { at: DAWN, resultExpiresAt: null })),
          other.app.tasks.revoke([id], { terminate: true }),
        ])
        const { status } = await storedRow(w.database, id)
        assert.deepEqual([ended, revoked?.revoked], status === 'SUCCESS' ? [true, false] : [false, true], status)
      }
    })
  })

  describe('commits that want the same rows the other way round', () => {
    it('are both written', async () => {
      await using w = await open()
      const other = await w.join()
      for (const id of ['a', 'b']) await putRow(w.database, { task_id: id })
      const add = 'UPDATE task_result SET retries = retries + 1 WHERE task_id = ?'
      const locked = { first: deferred(), second: deferred() }
      await Promise.all([
        w.database.write(async (sql) => {
          await sql.run(add, ['a'])
          locked.first.resolve(undefined)
          await locked.second.promise
          await sql.run(add, ['b'])
        }),
        other.database.write(async (sql) => {
          await sql.run(add, ['b'])
          locked.second.resolve(undefined)
          await locked.first.promise
          await sql.run(add, ['a'])
        }),
      ])
      assert.deepEqual(await w.database.all('SELECT retries FROM task_result', []), [{ retries: 2 }, { retries: 2 }])
    })
  })

  describe("a caller's transaction", () => {
    it('goes on when an id is taken', async () => {
      await using w = await open()
      await w.app.sendTask('add', [1], { taskId: 'mine' })
      const db = await w.app.knex()
      await db.transaction(async (trx) => {
        await assert.rejects(w.app.sendTask('add', [2], { trx, taskId: 'mine' }), TaskIdTakenError)
        await w.app.sendTask('add', [3], { trx, taskId: 'other' })
      })
      assert.equal(await w.app.tasks.count(), 2)
    })
  })
}

function deferred(): { readonly promise: Promise<unknown>; readonly resolve: (value: unknown) => void } {
  let resolve: (value: unknown) => void = () => {}
  const promise = new Promise((done) => {
    resolve = done
  })
  return { promise, resolve }
}
