import assert from 'node:assert/strict'
import { chain, chord, group } from '../../src/lib/canvas/compose.js'
import { starmap } from '../../src/lib/canvas/iterate.js'
import { groupOf, membersOf } from '../../src/lib/ledger/groups.js'
import { forget } from '../../src/lib/ledger/purge.js'
import type { TaskRow } from '../../src/lib/ledger/row.js'
import type { Json } from '../../src/lib/task/json.js'
import type { Canvas } from '../../src/lib/task/signature.js'
import { until } from '../helpers/until.js'
import { answerOf, idsOf, needsServer, openStage, SERVED, type Stage, type StageOptions, sig } from '../helpers/workflows.js'
import { gate, pooled, working } from '../helpers/working.js'

const groupIdOf = (canvas: Canvas): string => ('groupId' in canvas ? (canvas.groupId ?? '') : '')

async function openAcademy(options: StageOptions = {}) {
  const w = await openStage(options)
  const errbacks: string[] = []
  const ran: Json[] = []
  const door = gate()
  w.app.task('add', (x: number, y: number) => x + (y ?? 0))
  w.app.task('same', (value: Json) => {
    ran.push(value)
    return value
  })
  w.app.task({ name: 'fails_once', bind: true }, ({ request }, value: Json) => {
    if (request.retryOf === null) throw new RangeError('not yet')
    return value
  })
  w.app.task('wait', async (value: Json) => {
    await door.passed
    return value
  })
  w.app.task('hear', (id: string) => {
    errbacks.push(id)
  })
  return { ...w, errbacks, ran, door }
}

const replacedBy = (row: TaskRow | undefined): string => (row?.result as { replaced_by: string } | undefined)?.replaced_by ?? ''

/** Sends a copy of a task, as an operator does. */
async function retry(w: Stage, taskId: string): Promise<string> {
  const [resent] = await w.app.tasks.retry([await w.row(taskId)])
  assert.equal(resent?.error, null)
  return resent?.newTaskId ?? ''
}

const drained = (w: Stage) =>
  until(async () => (await w.database.all('SELECT 1 FROM task_result WHERE finished_at IS NULL', [])).length === 0, 'everything to end')

for (const broker of SERVED) {
  describe(`a copy of a task of a workflow, with the ${broker} broker`, () => {
    needsServer(broker)

    it('takes the place of its failed original, and the body runs as a copy once no place is bad', async () => {
      await using w = await openAcademy({ broker })
      await using _ = working(w.app)
      const body = chain([sig('same', [], { linkError: [sig('hear')] }), sig('same')])
      const whole = await w.send(chord([sig('fails_once', [1]), sig('add', [2]), sig('fails_once', [3])], body))
      const [first = '', second = '', third = '', entry = '', last = ''] = idsOf(whole)
      await w.ended(first, second, third, last)

      const copy = await retry(w, first)
      await w.ended(copy)
      assert.deepEqual(w.ran, []) // another place is bad
      const other = await retry(w, third)
      await until(() => w.ran.length === 2, 'the body')
      assert.deepEqual(w.ran, [
        [1, 2, 3],
        [1, 2, 3],
      ])
      await drained(w)
      assert.deepEqual(
        (await membersOf(w.database, groupIdOf(whole))).map(({ taskId, status }) => [taskId, status]),
        [copy, second, other].map((id) => [id, 'SUCCESS']),
      )
      const [again] = await w.database.all<{ task_id: string; result: string }>(
        'SELECT task_id, result FROM task_result WHERE retry_of = ? AND retry_of IS NOT NULL',
        [entry],
      )
      assert.equal(again?.result, '[1,2,3]')
      assert.deepEqual(await w.statuses(entry, last), ['FAILURE', 'FAILURE']) // what has ended stays as it was
      await until(() => w.errbacks.length === 1, 'the errback')
      assert.deepEqual(w.errbacks, [entry])
    })

    it('runs the body also when the place it repaired was not the last to end', async () => {
      await using w = await openAcademy({ broker })
      await using _ = working(w.app)
      const whole = await w.send(chord([sig('fails_once', [1]), sig('wait', [2])], sig('same')))
      const [first = '', second = '', body = ''] = idsOf(whole)
      await w.ended(first, body)
      await w.ended(await retry(w, first))
      w.door.open()
      await w.ended(second)
      await until(() => w.ran.length === 1, 'the body')
      assert.deepEqual(w.ran, [[1, 2]])
    })

    it('that counts already is not counted again, however often it is sent', async () => {
      await using w = await openAcademy({ broker })
      await using _ = working(w.app)
      const whole = await w.send(chord([sig('add', [1]), sig('add', [2])], sig('same')))
      const [first = ''] = idsOf(whole)
      await w.ended(...idsOf(whole))
      const [resent] = await w.app.tasks.retry([await w.row(first)], { force: true })
      await w.ended(resent?.newTaskId ?? '')
      await drained(w)
      assert.deepEqual(w.ran, [[1, 2]])
      const found = await groupOf(w.database, groupIdOf(whole))
      assert.deepEqual([found?.remaining, found?.failed], [0, 0])
      assert.equal((await membersOf(w.database, groupIdOf(whole)))[0]?.taskId, first)
    })

    it('is followed by what followed its original, under new ids', async () => {
      await using w = await openAcademy({ broker })
      await using _ = working(w.app)
      const rest = [group([sig('same'), sig('same')]), sig('same')]
      const whole = await w.send(chain([sig('fails_once', [1]), sig('add', [1]), ...rest]))
      const [first = '', ...others] = idsOf(whole)
      await w.ended(first, ...others)
      await w.ended(await retry(w, first))
      await until(() => w.ran.length === 3, 'the whole chain')
      await drained(w)
      assert.deepEqual(w.ran, [2, 2, [2, 2]])
      assert.deepEqual(await w.statuses(...others), ['FAILURE', 'FAILURE', 'FAILURE', 'FAILURE'])
    })

    it('is refused for one that never ran: its answer says what to send instead', async () => {
      await using w = await openAcademy({ broker })
      await using _ = working(w.app)
      const whole = await w.send(chain([sig('fails_once', [1]), sig('add', [1])]))
      const [first, second = ''] = idsOf(whole)
      await w.ended(second)
      const [resent] = await w.app.tasks.retry([await w.row(second)], { force: true })
      assert.equal(resent?.error, `it never ran: it ended with ${first}; send that one again, and it follows`)
    })
  })

  describe(`a task that is replaced, with the ${broker} broker`, () => {
    needsServer(broker)

    const replacing = async (canvas: Canvas) => {
      const w = await openAcademy({ broker })
      w.app.task({ name: 'host', bind: true }, (task) => task.replace({ canvas }))
      return w
    }

    it('by a chain hands on the value of its last step, has its callbacks sent, and leads to the one in its place', async () => {
      await using w = await replacing(chain([sig('add', [1, 2]), sig('add', [10])]))
      await using _ = working(w.app)
      const link = [sig('same', [], { taskId: 'callback' })]
      const whole = await w.send(chain([sig('add', [5]), sig('host', [], { link }), sig('add', [100])]))
      const [first, host = '', last = ''] = idsOf(whole)
      const [ended, end] = await w.ended(host, last, 'callback')
      assert.equal(end?.result, 113)
      assert.equal(ended?.status, 'IGNORED')
      assert.equal((await w.row(replacedBy(ended))).result, 13)
      assert.equal((await w.row('callback')).result, 13)
      assert.equal(await w.app.result(host).get(), 13)
      assert.deepEqual([ended?.rootId, end?.rootId], [first, first])
    })

    it('by a group is replaced by the list of its results', async () => {
      await using w = await replacing(group([sig('add', [1, 2]), sig('add', [3])]))
      await using _ = working(w.app)
      const whole = await w.send(chain([sig('host'), sig('same')]))
      const [host = '', last = ''] = idsOf(whole)
      assert.deepEqual((await w.ended(last))[0]?.result, [3, 3])
      assert.deepEqual(await w.app.result(host).get(), [3, 3])
    })

    it('has its place in a chord taken', async () => {
      await using w = await replacing(chain([sig('wait', [3]), sig('add', [10])]))
      await using _ = working(w.app)
      const whole = await w.send(chord([sig('add', [1]), sig('host'), sig('add', [2])], sig('same')))
      const [first = '', host = '', third = ''] = idsOf(whole)
      const [, ended] = await w.ended(first, host, third)
      assert.deepEqual(
        (await membersOf(w.database, groupIdOf(whole))).map(({ taskId, status }) => [taskId, status]),
        [
          [first, 'SUCCESS'],
          [replacedBy(ended), 'PENDING'],
          [third, 'SUCCESS'],
        ],
      )
      w.door.open()
      assert.deepEqual((await w.ended(answerOf(whole)))[0]?.result, [1, 13, 2])
      assert.deepEqual(
        (await membersOf(w.database, groupIdOf(whole))).map(({ status }) => status),
        ['SUCCESS', 'SUCCESS', 'SUCCESS'],
      )
    })

    it('fails what follows when its replacement fails, and tells the errbacks of the one that failed', async () => {
      await using w = await replacing(chain([sig('fails_once', [1]), sig('add', [10])]))
      await using _ = working(w.app)
      const whole = await w.send(chain([sig('host', [], { linkError: [sig('hear')] }), sig('same')]))
      const [host = '', last = ''] = idsOf(whole)
      const [ended, end] = await w.ended(host, last)
      assert.deepEqual([end?.status, end?.errorMessage], ['FAILURE', 'not yet'])
      await until(() => w.errbacks.length > 0, 'the errback')
      await drained(w)
      const [failed] = await w.app.tasks.list({ tasks: ['fails_once'] })
      assert.deepEqual(w.errbacks, [failed?.taskId])
      assert.equal((await w.row(replacedBy(ended))).errorMessage, 'not yet')
    })

    it('by nothing fails', async () => {
      await using w = await replacing({ kind: 'chain', steps: [] })
      await using _ = working(w.app)
      const whole = await w.send(sig('host'))
      const [row] = await w.ended(answerOf(whole))
      assert.deepEqual([row?.status, row?.errorType], ['FAILURE', 'UsageError'])
    })
  })

  describe(`a member of a chord that adds to it, with the ${broker} broker`, () => {
    needsServer(broker)

    it('has the body wait for what it added, and get it after the rest', async () => {
      await using w = await openAcademy({ broker })
      w.app.task({ name: 'host', bind: true }, (task) => {
        task.addToChord({ canvas: sig('wait', [7]) })
        task.addToChord({ canvas: group([sig('add', [8]), chain([sig('add', [4]), sig('add', [5])])]) })
        return 0
      })
      await using _ = working(w.app)
      const whole = await w.send(chord([sig('host'), sig('add', [1])], sig('same')))
      await w.ended(...idsOf(whole).slice(0, 2))
      assert.deepEqual(await w.statuses(answerOf(whole)), ['none'])
      w.door.open()
      assert.deepEqual((await w.ended(answerOf(whole)))[0]?.result, [0, 1, 7, 8, 9])
      const found = await groupOf(w.database, groupIdOf(whole))
      assert.deepEqual([found?.size, found?.remaining], [5, 0])
    })

    it('may have itself replaced besides', async () => {
      await using w = await openAcademy({ broker })
      w.app.task({ name: 'host', bind: true }, (task) => {
        task.addToChord({ canvas: sig('add', [7]) })
        return task.replace({ canvas: sig('add', [5]) })
      })
      await using _ = working(w.app)
      const whole = await w.send(chord([sig('add', [1]), sig('host')], sig('same')))
      assert.deepEqual((await w.ended(answerOf(whole)))[0]?.result, [1, 5, 7])
    })

    it('adds nothing when it fails', async () => {
      await using w = await openAcademy({ broker })
      w.app.task({ name: 'host', bind: true }, (task) => {
        task.addToChord({ canvas: sig('same', ['added']) })
        throw new RangeError('no')
      })
      await using _ = working(w.app)
      const whole = await w.send(chord([sig('host')], sig('same')))
      await w.ended(answerOf(whole))
      await drained(w)
      assert.deepEqual(w.ran, [])
    })

    it('is told when it is in no group', async () => {
      await using w = await openAcademy({ broker })
      w.app.task({ name: 'host', bind: true }, (task) => task.addToChord({ canvas: sig('same') }))
      await using _ = working(w.app)
      const [row] = await w.ended(answerOf(await w.send(sig('host'))))
      assert.equal(row?.errorMessage, 'addToChord: this task counts in no group')
    })
  })

  describe(`the results of an open chord, with the ${broker} broker`, () => {
    needsServer(broker)

    it('are neither purged, nor expire, nor are forgotten, until the body has them', async () => {
      await using w = await openAcademy({ broker })
      await using _ = working(w.app)
      const whole = await w.send(chord([sig('add', [1], { resultExpires: 0 }), sig('wait', [2])], sig('same')))
      const [first = '', second = '', body = ''] = idsOf(whole)
      await w.send(sig('add', [1], { taskId: 'apart', resultExpires: 0 }))
      await w.ended(first, 'apart')
      assert.equal(await w.app.tasks.countPurgeable({ expiredAt: new Date(Date.now() + 1) }), 1)
      assert.equal(await w.app.tasks.purge({ expiredAt: new Date(Date.now() + 1) }), 1)
      assert.equal(await w.app.tasks.purge({}), 0)
      assert.equal(await w.database.write((sql) => forget(sql, first)), false)
      assert.deepEqual(await w.statuses(first, 'apart'), ['SUCCESS', 'none'])
      w.door.open()
      assert.deepEqual((await w.ended(body))[0]?.result, [1, 2])
      await w.ended(first, second)
      assert.equal(await w.app.tasks.purge({}), 3)
      for (const table of ['task_group', 'task_group_member']) assert.deepEqual(await w.database.all(`SELECT * FROM ${table}`, []), [])
    })

    it('that are gone all the same fail it, and it does not hang', async () => {
      await using w = await openAcademy({ broker })
      await using _ = working(w.app)
      const whole = await w.send(chord([sig('add', [1]), sig('wait', [2])], sig('same', [], { linkError: [sig('hear')] })))
      const [first = '', , body = ''] = idsOf(whole)
      await w.ended(first)
      await w.database.run('DELETE FROM task_result WHERE task_id = ?', [first]) // what only a hand could do
      w.door.open()
      const [row] = await w.ended(body)
      assert.deepEqual(
        [row?.status, row?.errorType, row?.errorMessage],
        ['FAILURE', 'ChordError', `Dependency ${first} raised ResultLost: its result was deleted before the chord could use it`],
      )
      await until(() => w.errbacks.length === 1, 'the errback')
    })

    it('that are together too large fail it', async () => {
      await using w = await openAcademy({ broker })
      w.app.task('large', () => 'x'.repeat(9 * 1024 * 1024))
      await using _ = working(w.app)
      const whole = await w.send(chord([sig('large'), sig('large')], sig('same')))
      const [row] = await w.ended(answerOf(whole))
      assert.equal(row?.errorType, 'ChordError')
      assert.match(
        row?.errorMessage ?? '',
        /raised ResultTooLarge: the results of the chord are 188\d+ bytes of JSON; the limit is 16777216$/,
      )
    })
  })

  describe(`a map, with the ${broker} broker`, () => {
    needsServer(broker)

    it('that fails at an item keeps those before it, and a copy goes on there', async () => {
      await using w = await openAcademy({ broker })
      let broken = true
      const calls: number[] = []
      w.app.task('fetch', (x: number, y: number) => {
        calls.push(x)
        if (x === 3 && broken) throw new RangeError('broken')
        return x * y
      })
      await using _ = working(w.app)
      const whole = await w.send(
        chain([
          starmap(sig('fetch'), [
            [1, 10],
            [2, 10],
            [3, 10],
            [4, 10],
          ]),
          sig('same'),
        ]),
      )
      const [first = '', second = ''] = idsOf(whole)
      const [row] = await w.ended(first, second)
      assert.deepEqual([row?.status, row?.errorMessage, row?.meta], ['FAILURE', 'broken', { done: [10, 20] }])
      broken = false
      const [copy] = await w.ended(await retry(w, first))
      assert.deepEqual(copy?.result, [10, 20, 30, 40])
      assert.deepEqual(calls, [1, 2, 3, 3, 4])
      await until(() => w.ran.length === 1, 'what follows it')
    })
  })
}

describe('a workflow whose tasks run in processes', () => {
  it('is replaced and added to by data that crosses them', async () => {
    await using w = await openStage()
    await using _ = await pooled(w.app)
    const whole = await w.send(chord([sig('replaced'), sig('adds')], sig('parts')))
    assert.deepEqual((await w.ended(answerOf(whole)))[0]?.result, [['first'], 'adds', ['added']])
  })
})
