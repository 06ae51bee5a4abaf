import assert from 'node:assert/strict'
import { chain, chord, group } from '../../src/lib/canvas/compose.js'
import { groupsOf } from '../../src/lib/canvas/freeze.js'
import { groupOf } from '../../src/lib/ledger/groups.js'
import type { TaskRow } from '../../src/lib/ledger/row.js'
import { Ignore, Reject } from '../../src/lib/task/ending.js'
import type { Canvas, SignatureOptions } from '../../src/lib/task/signature.js'
import { rescueLost } from '../../src/lib/worker/rescue.js'
import { until } from '../helpers/until.js'
import { idsOf, needsServer, openStage, SERVED, type Stage, sig } from '../helpers/workflows.js'
import { gate, working } from '../helpers/working.js'

/** A way in which the second of several steps ends, so that the others never begin. */
interface Ending {
  readonly name: string
  readonly task: string
  readonly options?: SignatureOptions
  /** What brings the end about, once the task is known to the ledger. */
  readonly act?: (w: Stage, taskId: string) => Promise<unknown>
  readonly error: readonly [status: string, type: string | null, message: RegExp | null]
  /** Whether its errback is told. */
  readonly told: boolean
}

const ENDINGS: readonly Ending[] = [
  { name: 'fails', task: 'boom', error: ['FAILURE', 'RangeError', /^boom$/], told: true },
  { name: 'is not known', task: 'unknown', error: ['FAILURE', 'NotRegistered', /^no task named 'unknown'/], told: true },
  { name: 'is rejected', task: 'rejects', error: ['FAILURE', 'Reject', /^no$/], told: true },
  { name: 'is ignored', task: 'ignores', error: ['IGNORED', null, null], told: false },
  { name: 'expired', task: 'same', options: { expires: 0 }, error: ['REVOKED', 'TaskRevokedError', /^expired$/], told: true },
  {
    name: 'expired while it waited for its eta',
    task: 'same',
    options: { expires: 0, countdown: 0.05 },
    error: ['REVOKED', 'TaskRevokedError', /^expired$/],
    told: true,
  },
  {
    name: 'expired while it waited for its retry',
    task: 'retries',
    options: { expires: 0.3 },
    error: ['REVOKED', 'TaskRevokedError', /^expired$/],
    told: true,
  },
  {
    name: 'is revoked before it starts',
    task: 'same',
    options: { queue: 'of nobody' },
    act: (w, taskId) => w.app.tasks.revoke([taskId]),
    error: ['REVOKED', 'TaskRevokedError', /^revoked$/],
    told: true,
  },
  {
    name: 'is revoked while it waits for its eta',
    task: 'same',
    options: { countdown: 3600 },
    act: (w, taskId) => w.app.tasks.revoke([taskId]),
    error: ['REVOKED', 'TaskRevokedError', /^revoked$/],
    told: true,
  },
  {
    name: 'is revoked while it runs',
    task: 'hangs',
    act: async (w, taskId) => {
      await until(async () => (await w.statuses(taskId))[0] === 'STARTED', 'it to run')
      await w.app.tasks.revoke([taskId], { terminate: true })
    },
    error: ['REVOKED', 'TaskRevokedError', /^terminated$/],
    told: true,
  },
  {
    name: 'is stopped by its time limit',
    task: 'hangs',
    options: { timeLimit: 0.05 },
    error: ['FAILURE', 'TimeLimitExceeded', /0.05 s$/],
    told: true,
  },
  {
    name: 'is told to end by its soft time limit',
    task: 'hangs',
    options: { softTimeLimit: 0.05 },
    error: ['FAILURE', 'SoftTimeLimitExceeded', /0.05 s$/],
    told: true,
  },
  {
    name: 'is lost with its worker',
    task: 'lost',
    options: { queue: 'far' },
    act: async (w, taskId) => {
      const { database, broker } = w
      const [delivery] = await until(async () => {
        const found = await broker.receive(['far'], 1, 30_000)
        return found.length > 0 && found
      }, 'its message')
      assert.ok(delivery)
      await broker.ack(delivery)
      const now = Date.now()
      const lost = database.dialect.patched('options', '{"onWorkerLost":"fail"}')
      await database.run(
        `UPDATE task_result SET status = 'STARTED', worker_id = 'gone', deliveries = 1, lease_until = ?, started_at = ?, published_at = ?,
           options = ${lost.text} WHERE task_id = ?`,
        [now - 1, now, now, ...lost.bindings, taskId],
      )
    },
    error: ['FAILURE', 'WorkerLostError', /^its worker gone has been silent/],
    told: true,
  },
  {
    name: 'is given up by a worker that is shut down',
    task: 'hangs',
    options: { queue: 'far' },
    act: async (w, taskId) => {
      await using _ = working(w.app, { queues: ['far'], sender: false })
      await until(async () => (await w.statuses(taskId))[0] === 'STARTED', 'it to run')
    },
    error: ['FAILURE', 'WorkerShutdown', /shut down/],
    told: true,
  },
]

async function openHall(broker: (typeof SERVED)[number]) {
  const w = await openStage({ broker, settings: { lease: 0.6 } })
  const errbacks: string[] = []
  const door = gate()
  w.app.task('same', (value: string) => value)
  w.app.task('total', (values: number[]) => values.length)
  w.app.task('boom', () => {
    throw new RangeError('boom')
  })
  w.app.task('rejects', () => {
    throw new Reject('no')
  })
  w.app.task('ignores', () => {
    throw new Ignore()
  })
  w.app.task({ name: 'retries', bind: true }, (task) => task.retry({ countdown: 0.4 }))
  w.app.task({ name: 'hangs', bind: true }, ({ signal }) =>
    Promise.race([door.passed, new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))]),
  )
  w.app.task('listen', (request: { id: string }) => {
    errbacks.push(request.id)
  })
  return { ...w, errbacks, door }
}

const told = ({ status, errorType, errorMessage, options }: TaskRow) => ({ status, errorType, errorMessage, settledBy: options.settledBy })

/** Six steps, the second of which is `task`; the fourth and the sixth are groups, and the fourth holds a chord. */
function workflow(task: string, options: SignatureOptions): Canvas {
  const linkError = [sig('listen', [], { errback: true })]
  const link = [sig('same', [], { taskId: 'callback' })]
  return chain([
    sig('same', ['first'], { linkError }),
    sig(task, [], { ...options, linkError, link }),
    sig('same', [], { linkError }),
    group([sig('same'), chain([sig('same'), chord([sig('same'), sig('same')], sig('total'))])]),
    sig('total', [], { linkError }),
    group([sig('same'), sig('same')]),
  ])
}

/** Every later task, and the callback, ended as the second did, and every group heard of all of its members. */
async function assertEnded(w: Stage, whole: Canvas, [status, type, message]: Ending['error']): Promise<void> {
  const [first = '', second = '', ...others] = idsOf(whole)
  const [before, third, ...rest] = await w.ended(first, ...others, 'callback')
  assert.ok(before && third)
  assert.deepEqual([before.status, third.status, third.errorType, third.options.settledBy], ['SUCCESS', status, type, second])
  if (message) assert.match(third.errorMessage ?? '', message)
  for (const row of rest) assert.deepEqual(told(row), told(third))
  for (const { groupId } of groupsOf(whole)) {
    const found = await groupOf(w.database, groupId ?? '')
    assert.deepEqual([found?.remaining, found?.failed], [0, status === 'IGNORED' ? 0 : found?.size])
  }
}

for (const broker of SERVED) {
  describe(`what follows a step, with the ${broker} broker`, () => {
    needsServer(broker)

    for (const { name, task, options = {}, act, error, told: heard } of ENDINGS) {
      it(`ends with it when it ${name}`, async () => {
        await using w = await openHall(broker)
        const whole = await w.send(workflow(task, options))
        const [, second = ''] = idsOf(whole)
        await using _ = working(w.app)
        await until(async () => (await w.statuses(second))[0] !== 'none', 'its row')
        await act?.(w, second)
        await assertEnded(w, whole, error)
        if (heard) await until(() => w.errbacks.length > 0, 'the errback')
        await until(
          async () => (await w.database.all('SELECT 1 FROM task_result WHERE finished_at IS NULL LIMIT 1', [])).length === 0,
          'everything to end',
        )
        const [end] = await w.ended(second)
        assert.deepEqual([end?.status, end?.errorType], error.slice(0, 2))
        assert.deepEqual(w.errbacks, heard ? [second] : [])
        assert.deepEqual(w.errors, [])
      })
    }
  })
}

for (const broker of SERVED) {
  describe(`the body of a chord, with the ${broker} broker`, () => {
    needsServer(broker)

    for (const { name, task, options = {}, act, error } of ENDINGS) {
      const [status, type, message] = error
      it(`${status === 'IGNORED' ? 'has null for' : 'fails with'} a task of its header that ${name}`, async () => {
        await using w = await openHall(broker)
        const whole = await w.send(chord([sig('same', ['first']), sig(task, [], options)], chain([sig('same'), sig('same')])))
        const [first = '', second = '', ...body] = idsOf(whole)
        await using _ = working(w.app)
        await act?.(w, second)
        const [row, ...rows] = await w.ended(first, ...body)
        assert.equal(row?.status, 'SUCCESS')
        for (const { status: end, errorType, errorMessage, result, options: own } of rows) {
          if (status === 'IGNORED') assert.deepEqual([end, result], ['SUCCESS', ['first', null]])
          else {
            assert.deepEqual([end, errorType, own.settledBy], ['FAILURE', 'ChordError', second])
            const [begin, why = ''] = [`Dependency ${second} raised ${type}: `, errorMessage?.split(`${type}: `)[1]]
            assert.ok(errorMessage?.startsWith(begin), `${errorMessage}`)
            assert.match(why, message ?? /./)
          }
        }
        assert.deepEqual(w.errors, [])
      })
    }
  })
}

for (const broker of SERVED) {
  describe(`what follows a task that no worker has, with the ${broker} broker`, () => {
    needsServer(broker)

    it('is handed over at once: of one that is revoked, and of one that is rescued', async () => {
      await using w = await openHall(broker)
      const errback = (taskId: string) => [sig('listen', [], { taskId })]
      await w.send(sig('same', [], { taskId: 'revoked', linkError: errback('after revoke') }))
      await w.send(sig('same', [], { taskId: 'lost', linkError: errback('after rescue') }))
      await w.app.tasks.revoke(['revoked'])
      const lost = w.database.dialect.patched('options', '{"onWorkerLost":"fail"}')
      await w.database.run(
        `UPDATE task_result SET status = 'STARTED', worker_id = 'gone', lease_until = 1, options = ${lost.text} WHERE task_id = 'lost'`,
        lost.bindings,
      )
      await rescueLost(w.database, w.follower, null, () => {}, Date.now())
      for (const id of ['after revoke', 'after rescue']) assert.equal(await w.isWaiting(id), true, id)
    })
  })
}
