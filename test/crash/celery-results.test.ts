import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { Database } from '../../src/lib/database/database.js'
import { migrateTo } from '../../src/lib/database/migrate.js'
import { messageFor } from '../../src/lib/publish/request.js'
import { FAILPOINTS, type FailpointName } from '../../src/lib/task/failpoint.js'
import { newTaskId } from '../../src/lib/task/id.js'
import type { TaskMessage } from '../../src/lib/task/message.js'
import type { Interruption } from '../fixtures/celery/interrupted.js'
import { KEPT, REDIS } from '../helpers/celery-stage.js'
import { LEASE, openProgram, type Place } from '../helpers/interrupted.js'
import { Processes } from '../helpers/processes.js'
import { needs } from '../helpers/services.js'
import { until } from '../helpers/until.js'
import { working } from '../helpers/working.js'

/** The first member of two comes to each point once, and then the second, which completes the chord. */
const CASES: readonly (readonly [point: FailpointName, nth: number])[] = [
  ['finish:committed', 2],
  ['result:before', 1],
  ['result:before', 2],
  ['result:stored', 1],
  ['result:stored', 2],
  ['result:released', 1],
  ['result:told', 1],
  ['result:told', 2],
  ['ack:before', 2],
]

/** Those that are tried on the embedded broker too, where the ack is part of the commit. */
const EMBEDDED = ['finish:committed 2', 'result:before 2', 'result:stored 2', 'result:released 1']

/** The members of a chord as its client's messages are read: late-ack tasks, and a body that notes that it ran. */
function membersOf(groupId: string, bodyId: string): TaskMessage[] {
  const chord = { task: 'early', args: [], kwargs: {}, options: { task_id: bodyId } }
  return [0, 1].map((groupIndex) => {
    const made = messageFor('late', [], {}, {}, { defaultQueue: 'default', routes: {} }, null, Date.now())
    return { ...made, groupId, groupIndex, options: { celery: { chord } } }
  })
}

async function makePlace(folder: string, broker: 'embedded' | 'outside'): Promise<Place> {
  const [ledger = '', messages = ''] = ['ledger.db', 'messages.db'].map((name) => `sqlite:${join(folder, name)}`)
  for (const url of broker === 'embedded' ? [ledger] : [ledger, messages]) {
    const database = await Database.open(url, 'create')
    await migrateTo(database)
    await database.close()
  }
  return { ledger, messages: broker === 'embedded' ? null : messages, file: join(folder, 'side-effects'), celeryResults: REDIS }
}

/** How often the body of this task ran. */
const runsOf = ({ file }: Place, id: string): number => (existsSync(file) ? readFileSync(file, 'utf8').split(id).length - 1 : 0)

describe("results for Celery's clients, where a worker is killed", function () {
  this.timeout(60_000)
  let redis: Redis

  before(async function () {
    await needs(this, 'Redis')
    redis = new Redis(REDIS)
  })

  after(() => {
    redis?.disconnect()
  })

  it('are tried at every failpoint of results', () => {
    const points = FAILPOINTS.filter((point) => point.startsWith('result:'))
    assert.deepEqual(
      points.filter((point) => !CASES.some(([tried]) => tried === point)),
      [],
    )
  })

  for (const broker of ['embedded', 'outside'] as const) {
    for (const [point, nth] of CASES) {
      if (broker === 'embedded' && !EMBEDDED.includes(`${point} ${nth}`)) continue
      it(`are all stored, and the chord's body runs once: ${point}, time ${nth}, on ${broker === 'embedded' ? 'the embedded' : 'an outside'} broker`, async () => {
        const folder = mkdtempSync(join(tmpdir(), 'taskledger-test-'))
        try {
          const place = await makePlace(folder, broker)
          const [groupId, bodyId] = [newTaskId(), newTaskId()]
          const messages = membersOf(groupId, bodyId)
          await redis.set(`celery-taskset-meta-${groupId}.s`, 2, 'EX', KEPT)
          await kill({ place, messages, point, nth })
          await sleep(LEASE * 1100) // what a lease holds is free once it has run out

          const errors: unknown[] = []
          const ids = [...messages.map(({ id }) => id), bodyId]
          const { app, messages: queue } = await openProgram(place, LEASE, (error) => errors.push(error))
          try {
            await using _ = working(app)
            const database = await app.database()
            await until(async () => (await storedOf(redis, ids)).every((text) => text !== null), 'every result to be stored')
            await until(async () => (await database.all('SELECT 1 FROM celery_outbox', [])).length === 0, 'nothing to be left')
            await until(async () => (await queue.all('SELECT 1 FROM task_message', [])).length === 0, 'every message to be acked')
          } finally {
            await app.close()
          }
          const statuses = (await storedOf(redis, ids)).map((text) => JSON.parse(text ?? '').status)
          assert.deepEqual(statuses, ['SUCCESS', 'SUCCESS', 'SUCCESS'])
          assert.equal(runsOf(place, bodyId), 1)
          assert.equal(await redis.exists(`celery-taskset-meta-${groupId}.s`), 0)
          assert.deepEqual(errors, [])
          await redis.del(ids.map((id) => `celery-task-meta-${id}`))
        } finally {
          rmSync(folder, { recursive: true, force: true })
        }
      })
    }
  }
})

const storedOf = (redis: Redis, ids: readonly string[]) => redis.mget(ids.map((id) => `celery-task-meta-${id}`))

async function kill(interruption: Interruption): Promise<void> {
  await using processes = new Processes()
  const interrupted = processes.fixture('celery/interrupted.ts', [JSON.stringify(interruption)])
  assert.deepEqual(await interrupted.end(), { code: null, signal: 'SIGKILL' })
}
