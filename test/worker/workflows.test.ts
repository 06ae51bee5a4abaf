import assert from 'node:assert/strict'
import { chain, chord, group } from '../../src/lib/canvas/compose.js'
import { groupOf, membersOf } from '../../src/lib/ledger/groups.js'
import { messageOf, type TaskRow } from '../../src/lib/ledger/row.js'
import { TaskIdTakenError } from '../../src/lib/publish/publisher.js'
import { Ignore } from '../../src/lib/task/ending.js'
import type { Json } from '../../src/lib/task/json.js'
import { until } from '../helpers/until.js'
import { answerOf, idsOf, needsServer, openStage, SERVED, type Stage, type StageOptions, si, sig } from '../helpers/workflows.js'
import { gate, working } from '../helpers/working.js'

/** What an errback was told, each as `task error message`. */
interface Told {
  readonly id: string
  readonly error: string
}

/** A stage with tasks that compute, fail, and listen. */
async function openAcademy(options: StageOptions = {}) {
  const w = await openStage(options)
  const errbacks: Told[] = []
  const ran: string[] = []
  const door = gate()
  w.app.task({ name: 'add', bind: true }, ({ request }, ...terms: number[]) => {
    ran.push(request.id)
    return terms.reduce((sum, term) => sum + term, 0)
  })
  w.app.task('total', (terms: number[]) => terms.reduce((sum, term) => sum + (term ?? 0), 0))
  w.app.task({ name: 'same', bind: true }, ({ request }, value: Json) => {
    ran.push(request.id)
    return value
  })
  w.app.task({ name: 'boom', bind: true }, ({ request }) => {
    ran.push(request.id)
    throw new RangeError('boom')
  })
  w.app.task({ name: 'fails_once', bind: true }, ({ request }, value: Json) => {
    if (request.retryOf === null) throw new RangeError('not yet')
    return value
  })
  w.app.task('ignored', () => {
    throw new Ignore()
  })
  w.app.task('wait', async (value: Json) => {
    await door.passed
    return value
  })
  w.app.task('listen', (request: { id: string }, error: { type: string; message: string }) => {
    errbacks.push({ id: request.id, error: `${error.type}: ${error.message}` })
  })
  w.app.task('hear', (id: string) => {
    errbacks.push({ id, error: '' })
  })
  return { ...w, errbacks, ran, door }
}

const listen = sig('listen', [], { errback: true })
const hear = sig('hear')

const told = ({ status, errorType, errorMessage, options }: TaskRow) => [status, errorType, errorMessage, options.settledBy]

/** Nothing of the world is left open, and nobody reported anything. */
async function assertQuiet(w: Stage): Promise<void> {
  assert.deepEqual(await w.database.all('SELECT task_id, task, status FROM task_result WHERE finished_at IS NULL', []), [])
  assert.deepEqual(w.errors, [])
}

for (const broker of SERVED) {
  describe(`a workflow, with the ${broker} broker`, () => {
    needsServer(broker)

    it('that is a chain hands each value on, to the last', async () => {
      await using w = await openAcademy({ broker })
      await using _ = working(w.app)
      const whole = await w.send(chain([sig('add', [1, 2]), sig('add', [4]), sig('add', [8])]))
      const rows = await w.ended(...idsOf(whole))
      assert.deepEqual(
        rows.map(({ result, args }) => [result, args]),
        [
          [3, [1, 2]],
          [7, [3, 4]],
          [15, [7, 8]],
        ],
      )
      const [first, second] = rows
      assert.deepEqual(
        rows.map(({ parentId }) => parentId),
        [null, first?.taskId, second?.taskId],
      )
      await assertQuiet(w)
    })

    it('hands nothing to an immutable step', async () => {
      await using w = await openAcademy({ broker })
      await using _ = working(w.app)
      const whole = await w.send(chain([sig('add', [1, 2]), si('add', [5, 5])]))
      const [row] = await w.ended(answerOf(whole))
      assert.equal(row?.result, 10)
    })

    it('sends each callback with the value, as a child, and the next step besides', async () => {
      await using w = await openAcademy({ broker })
      await using _ = working(w.app)
      const link = [sig('add', [10]), si('add', [7]), group([sig('add', [1], { taskId: 'c' }), sig('add', [2], { taskId: 'd' })])]
      const whole = await w.send(chain([sig('add', [1, 2], { taskId: 'a', link }), sig('same')]))
      await w.ended(...idsOf(whole), 'c', 'd')
      const children = await until(async () => {
        const rows = await w.database.all<{ result: string }>(
          "SELECT result FROM task_result WHERE parent_id = 'a' AND finished_at IS NOT NULL",
          [],
        )
        return rows.length === 5 && rows.map((row) => Number(row.result)).sort((x, y) => x - y)
      }, 'five children')
      assert.deepEqual(children, [3, 4, 5, 7, 13])
    })

    it('that is a chord gives its body the results in the order of its header', async () => {
      await using w = await openAcademy({ broker })
      await using _ = working(w.app)
      const whole = await w.send(chord([sig('wait', [1]), sig('add', [2, 2]), sig('add', [3, 3])], sig('same')))
      const [, second, third, body] = idsOf(whole)
      await w.ended(second ?? '', third ?? '')
      assert.deepEqual(await w.statuses(body ?? ''), ['none'])
      w.door.open()
      assert.deepEqual((await w.ended(body ?? ''))[0]?.result, [1, 4, 6])
      await assertQuiet(w)
    })

    it('with an empty header is its body with an empty list', async () => {
      await using w = await openAcademy({ broker })
      await using _ = working(w.app)
      const whole = await w.send(chord([], sig('same')))
      assert.deepEqual((await w.ended(answerOf(whole)))[0]?.result, [])
    })

    it('with a header of one gives its body a list of one', async () => {
      await using w = await openAcademy({ broker })
      await using _ = working(w.app)
      const whole = await w.send(chord([sig('add', [1, 2])], sig('same')))
      assert.deepEqual((await w.ended(answerOf(whole)))[0]?.result, [3])
    })

    it('that is a group and then a group gives each of the second the whole list of the first', async () => {
      await using w = await openAcademy({ broker })
      await using _ = working(w.app)
      const whole = await w.send(chain([group([sig('add', [1, 2]), sig('add', [3, 4])]), group([sig('same'), sig('total')])]))
      const ends = await w.ended(...idsOf(whole))
      assert.deepEqual(
        ends.map(({ result }) => result),
        [3, 7, [3, 7], 10],
      )
      const second = await groupOf(w.database, answerOf(whole))
      assert.deepEqual([second?.size, second?.remaining, second?.failed, second?.chord], [2, 0, 0, false])
      assert.ok(second?.finishedAt)
      assert.deepEqual(
        (await membersOf(w.database, answerOf(whole))).map(({ taskId }) => taskId),
        idsOf(whole).slice(2),
      )
      await assertQuiet(w)
    })

    it('that is a chord within the header of a chord gives the outer body the inner one as one element', async () => {
      await using w = await openAcademy({ broker })
      await using _ = working(w.app)
      const inner = chord([sig('add', [1, 1]), sig('add', [2, 2])], chain([sig('total'), sig('add', [100])]))
      const whole = await w.send(chord([sig('add', [7]), inner, group([sig('add', [8]), sig('add', [9])])], sig('same')))
      assert.deepEqual((await w.ended(answerOf(whole)))[0]?.result, [7, 106, 8, 9])
      await assertQuiet(w)
    })

    it('shares one root from the header to what follows the body', async () => {
      await using w = await openAcademy({ broker })
      await using _ = working(w.app)
      const rest = [sig('total', [], { linkError: [listen] }), sig('add', [1], { link: [sig('boom', [], { linkError: [hear] })] })]
      const whole = await w.send(chain([sig('add', [1]), group([sig('add', [1]), sig('add', [2])]), ...rest]))
      await w.ended(answerOf(whole))
      await until(() => w.errbacks.length === 1, 'the errback of the callback')
      const roots = await w.database.all('SELECT DISTINCT root_id FROM task_result UNION SELECT root_id FROM task_group', [])
      assert.deepEqual(roots, [{ root_id: idsOf(whole)[0] }])
    })

    it('whose second of four steps fails runs the errback once, and ends the rest with the same error', async () => {
      await using w = await openAcademy({ broker })
      await using _ = working(w.app)
      const how = { linkError: [listen] }
      const steps = [sig('add', [1], how), sig('boom', [], how), sig('add', [3], how), sig('add', [4], how)]
      const whole = await w.send(chain(steps))
      const [first, second, ...others] = await w.ended(...idsOf(whole))
      assert.equal(first?.status, 'SUCCESS')
      assert.equal(second?.status, 'FAILURE')
      for (const row of others) assert.deepEqual(told(row), ['FAILURE', 'RangeError', 'boom', second?.taskId])
      for (const row of others) assert.equal(row.traceback, second?.traceback)
      await until(() => w.errbacks.length > 0, 'the errback')
      await until(async () => (await w.app.tasks.count({ tasks: ['listen'], statuses: ['SUCCESS'] })) === 1, 'its end')
      assert.deepEqual(w.errbacks, [{ id: second?.taskId, error: 'RangeError: boom' }])
      await assertQuiet(w)
    })

    it('whose header fails fails the body at once, with the culprit, runs its errback once, and lets the others run', async () => {
      await using w = await openAcademy({ broker })
      await using _ = working(w.app)
      const whole = await w.send(chord([sig('boom'), sig('wait', [2]), sig('boom')], sig('total', [], { linkError: [listen] })))
      const [first = '', waiting = '', third = '', body = ''] = idsOf(whole)
      const [ended] = await w.ended(body)
      const culprit = ended?.errorMessage?.includes(first) ? first : third
      assert.deepEqual(told(ended as TaskRow), ['FAILURE', 'ChordError', `Dependency ${culprit} raised RangeError: boom`, culprit])
      assert.equal(ended?.traceback, null)
      assert.notEqual((await w.row(waiting)).status, 'SUCCESS')
      w.door.open()
      assert.deepEqual(
        (await w.ended(first, waiting, third)).map(({ status }) => status),
        ['FAILURE', 'SUCCESS', 'FAILURE'],
      )
      await until(() => w.errbacks.length === 1, 'the errback')
      await assertDrained(w)
      assert.deepEqual(w.errbacks, [{ id: body, error: `ChordError: Dependency ${culprit} raised RangeError: boom` }])
      const header = await groupOf(w.database, (whole as { groupId?: string }).groupId ?? '')
      assert.deepEqual([header?.remaining, header?.failed], [0, 2])
    })

    it('whose header fails ends every task of a body that is a chain', async () => {
      await using w = await openAcademy({ broker })
      await using _ = working(w.app)
      const whole = await w.send(chord([sig('boom'), sig('add', [2])], chain([sig('total'), sig('add', [1]), sig('add', [2])])))
      const [culprit, ...body] = idsOf(whole)
      for (const row of await w.ended(...body.slice(1))) {
        assert.deepEqual(told(row), ['FAILURE', 'ChordError', `Dependency ${culprit} raised RangeError: boom`, culprit])
      }
      await assertDrained(w)
    })

    it('whose header fails ends every task of a body that is a group, and tells the errback of each', async () => {
      await using w = await openAcademy({ broker })
      await using _ = working(w.app)
      const members = [sig('same', [], { linkError: [hear] }), sig('total', [], { linkError: [hear] })]
      const whole = await w.send(chain([group([sig('boom'), sig('add', [2])]), group(members)]))
      const [culprit, , ...body] = idsOf(whole)
      for (const row of await w.ended(...body)) assert.deepEqual(told(row).slice(0, 2), ['FAILURE', 'ChordError'])
      await until(() => w.errbacks.length === 2, 'two errbacks')
      assert.deepEqual(w.errbacks.map(({ id }) => id).sort(), [...body].sort())
      assert.ok(culprit)
      assert.deepEqual(await w.statuses(answerOf(whole)), ['none']) // no row under the id of the group
      const second = await groupOf(w.database, answerOf(whole))
      assert.deepEqual([second?.size, second?.remaining, second?.failed], [2, 0, 2])
    })

    it('fails an outer chord by an inner one', async () => {
      await using w = await openAcademy({ broker })
      await using _ = working(w.app)
      const inner = chord([sig('boom'), sig('add', [2])], sig('total'))
      const whole = await w.send(chord([inner, sig('add', [1])], sig('total', [], { linkError: [hear] })))
      const [culprit, , innerBody, , outerBody] = idsOf(whole)
      const [row] = await w.ended(outerBody ?? '')
      assert.deepEqual(told(row as TaskRow), [
        'FAILURE',
        'ChordError',
        `Dependency ${innerBody} raised ChordError: Dependency ${culprit} raised RangeError: boom`,
        innerBody,
      ])
      await until(() => w.errbacks.length === 1, 'the errback')
      await assertDrained(w)
    })

    it('fails once by a chain whose head fails', async () => {
      await using w = await openAcademy({ broker })
      await using _ = working(w.app)
      const whole = await w.send(
        chord([chain([sig('boom'), sig('add', [1]), sig('add', [2])]), sig('add', [5])], sig('total', [], { linkError: [hear] })),
      )
      const [head, , , , body] = idsOf(whole)
      const [row] = await w.ended(body ?? '')
      assert.equal(row?.errorMessage, `Dependency ${head} raised RangeError: boom`)
      await assertDrained(w)
      assert.equal(w.errbacks.length, 1)
    })

    it('gives a chord null for a member that is ignored, and for one whose result is', async () => {
      await using w = await openAcademy({ broker })
      await using _ = working(w.app)
      const whole = await w.send(chord([sig('ignored'), sig('add', [5], { ignoreResult: true }), sig('add', [6])], sig('same')))
      assert.deepEqual((await w.ended(answerOf(whole)))[0]?.result, [null, null, 6])
    })

    it('hands on a result that is ignored, and keeps null', async () => {
      await using w = await openAcademy({ broker, settings: { trackPublish: false } })
      await using _ = working(w.app)
      const whole = await w.send(chain([sig('add', [5], { ignoreResult: true }), sig('add', [6])]))
      assert.deepEqual(
        (await w.ended(...idsOf(whole))).map(({ result }) => result),
        [null, 11],
      )
    })

    it('fails a chord by a member that expired, and names what that is', async () => {
      await using w = await openAcademy({ broker })
      const whole = await w.send(chord([sig('add', [1], { expires: 0 }), sig('add', [2])], sig('total')))
      await using _ = working(w.app)
      const [expired, , body] = idsOf(whole)
      const [row] = await w.ended(body ?? '')
      assert.deepEqual(told(row as TaskRow), ['FAILURE', 'ChordError', `Dependency ${expired} raised TaskRevokedError: expired`, expired])
    })

    it('whose messages come again runs nothing twice, and sends nothing twice', async () => {
      await using w = await openAcademy({ broker })
      await using here = working(w.app, { concurrency: 1 })
      const whole = await w.send(chord([sig('add', [1], { ignoreResult: true }), sig('add', [2])], chain([sig('same'), sig('same')])))
      const rows = await w.ended(...idsOf(whole))
      await w.broker.publish(rows.map(messageOf))
      const [behind = ''] = idsOf(await w.send(sig('same', [0])))
      await w.ended(behind)
      here.worker.stop()
      await here.ended
      for (const { taskId } of rows) assert.equal(await w.isWaiting(taskId), false)
      assert.deepEqual(w.ran.toSorted(), [...idsOf(whole), behind].toSorted())
      assert.equal(await w.app.tasks.count({}), 5)
      await assertQuiet(w)
    })

    it('has a row for each task that is sent, whatever is tracked or ignored: others wait for its end', async () => {
      await using w = await openAcademy({ broker, settings: { trackPublish: false } })
      const members = [sig('add', [1]), sig('add', [2], { ignoreResult: true }), chain([sig('add', [3]), sig('same')])]
      const whole = await w.send(chord(members, sig('same')))
      assert.deepEqual(await w.statuses(...idsOf(whole)), ['PENDING', 'PENDING', 'PENDING', 'none', 'none'])
    })

    it('is refused whole when one of its ids is taken', async () => {
      await using w = await openAcademy({ broker })
      await w.send(sig('add', [1], { taskId: 'taken' }))
      const refused = w.send(group([sig('add', [1], { taskId: 'new' }), sig('add', [2], { taskId: 'taken' })]))
      await assert.rejects(refused, (error) => error instanceof TaskIdTakenError && error.message.includes(' taken '))
      assert.deepEqual(await w.statuses('new'), ['none'])
      assert.deepEqual(await w.database.all('SELECT * FROM task_group', []), [])
    })

    it('that is part of a transaction is there once that commits, and not before', async () => {
      await using w = await openAcademy({ broker })
      const knex = await w.app.knex()
      await assert.rejects(
        knex.transaction(async (trx) => {
          await w.send(chord([sig('add', [1], { taskId: 'a' })], sig('same')), { terms: { trx } })
          throw new Error('rolled back')
        }),
        /rolled back/,
      )
      assert.deepEqual(await w.statuses('a'), ['none'])
      assert.deepEqual(await w.database.all('SELECT * FROM task_group', []), [])
      await knex.transaction((trx) =>
        w.send(chord([sig('add', [1], { taskId: 'a' })], sig('same', [], { taskId: 'b' })), { terms: { trx } }),
      )
      await using _ = working(w.app)
      assert.deepEqual((await w.ended('b'))[0]?.result, [1])
    })
  })
}

/** Everything that was sent has ended. */
async function assertDrained(w: Stage): Promise<void> {
  await until(
    async () => (await w.database.all('SELECT 1 FROM task_result WHERE finished_at IS NULL LIMIT 1', [])).length === 0,
    'everything to end',
  )
  assert.deepEqual(w.errors, [])
}
