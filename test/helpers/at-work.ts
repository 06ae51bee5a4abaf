import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { App } from '../../src/lib/app/app.js'
import { chain } from '../../src/lib/app/canvas.js'
import type { Result } from '../../src/lib/app/lineage.js'
import { UnavailableError } from '../../src/lib/task/errors.js'
import { assertFinalIsFinal, watchFinalRows } from './final-rows.js'
import { until } from './until.js'
import { working } from './working.js'
import type { World } from './world.js'

/** How long everything may take to end once what failed is back. A sender waits for leases, and a worker between its tries. */
const END_MS = 90_000

/** Bodies that begin before and after what happens in the middle. */
const SOME = 12

/** What was accepted, and what ran. */
interface Seen {
  readonly accepted: string[]
  readonly runs: string[]
}

/**
 * Publishes all the time, with two programs at work, while something happens to what they depend on. Then nothing that was accepted
 * is missing: every late-ack task has ended and every early-ack one has run once; no finished row has changed.
 *
 * @param mayLose whether an early-ack task may be listed as lost instead, having run once or not at all
 */
export async function workThrough(w: World, happens: () => Promise<unknown>, { mayLose = false } = {}): Promise<void> {
  await watchFinalRows(w.database)
  const other = await w.join()
  const record: Seen = { accepted: [], runs: [] }
  for (const { app } of [w, other]) declare(app, record.runs)
  await using _first = working(w.app, { concurrency: 4 })
  await using _second = working(other.app, { concurrency: 4 })
  const over = new AbortController()
  const publishing = publish(w.app, record.accepted, over.signal)
  const goOn = async () => {
    const wanted = record.runs.length + SOME
    await until(() => record.runs.length >= wanted, 'work to go on', END_MS)
  }
  try {
    await goOn()
    await happens()
    await goOn()
  } finally {
    over.abort()
    await publishing
  }
  await until(async () => (await open(w, mayLose)).length === 0, 'everything to end', END_MS)
  await assertNothingMissing(w, record)
}

function declare(app: App, runs: string[]): void {
  const note = async ({ request }: { readonly request: { readonly id: string } }) => {
    runs.push(request.id)
    await sleep(20) // some run while it happens
  }
  app.task({ name: 'early', bind: true }, note)
  app.task({ name: 'late', bind: true, acksLate: true }, note)
}

async function publish(app: App, accepted: string[], over: AbortSignal): Promise<void> {
  while (!over.aborted) {
    for (const send of [() => app.sendTask('early'), () => app.sendTask('late'), () => sendChain(app)]) {
      const sent = await send().catch((error) => {
        if (!(error instanceof UnavailableError)) throw error // what was refused was not accepted
      })
      for (let result: Result | null = sent ?? null; result; result = result.parent) accepted.push(result.id)
    }
    await sleep(150)
  }
}

const sendChain = (app: App) =>
  chain(app.signature<unknown>('late'), app.signature<unknown>({ task: 'early', options: { immutable: true } })).applyAsync()

interface Row {
  readonly task_id: string
  readonly task: string
  readonly status: string
}

/** What has still to end. */
async function open(w: World, mayLose: boolean): Promise<Row[]> {
  const rows = await w.database.all<Row>('SELECT task_id, task, status FROM task_result WHERE finished_at IS NULL', [])
  const lost = new Set((await w.app.tasks.findStale({ reasons: ['lost'] })).map(({ taskId }) => taskId))
  return rows.filter(({ task_id, task }) => !(mayLose && task === 'early' && lost.has(task_id)))
}

async function assertNothingMissing(w: World, { accepted, runs }: Seen): Promise<void> {
  const rows = new Map((await w.database.all<Row>('SELECT task_id, task, status FROM task_result', [])).map((row) => [row.task_id, row]))
  const wrong = [...accepted, ...runs].filter((id) => !rows.has(id)).map((id) => `${id} has no row`)
  for (const { task_id, task, status } of rows.values()) {
    const times = runs.filter((id) => id === task_id).length
    const right =
      task === 'late' ? status === 'SUCCESS' && times >= 1 : status === 'SUCCESS' ? times === 1 : status === 'STARTED' && times <= 1
    if (!right) wrong.push(`${task} ${task_id} is ${status} and ran ${times} times`)
  }
  assert.deepEqual(wrong, [])
  await assertFinalIsFinal(w.database)
}
