import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { build } from 'esbuild'
import type { App } from '../../src/lib/app/app.js'
import { Database } from '../../src/lib/database/database.js'
import { migrateTo } from '../../src/lib/database/migrate.js'
import type { TaskRow } from '../../src/lib/ledger/row.js'
import { newTaskId } from '../../src/lib/task/id.js'
import { isFinal } from '../../src/lib/task/status.js'
import { watchFinalRows } from '../helpers/final-rows.js'
import { errbackOf, type Job, type Kind, LEASE, nextOf, openProgram, type Place, type Program, workflowOf } from '../helpers/interrupted.js'
import { Processes } from '../helpers/processes.js'
import { openRabbit, type Rabbit } from '../helpers/rabbitmq.js'
import { ROOT } from '../helpers/run.js'
import { linesIn } from '../helpers/side-effects.js'
import { until } from '../helpers/until.js'
import { RABBITMQ } from '../helpers/vhost.js'
import { working } from '../helpers/working.js'
import { type Case, shown, workOf } from './cases.js'

/** What one case shows. */
export interface Line {
  readonly left: string
  readonly found: string
  readonly after: string
  /** What must not be. */
  readonly problems: readonly string[]
}

/** Seconds: longer than a busy machine keeps a process waiting. */
const WORKER_LEASE = 3

/** What is with the broker, as somebody sees it who takes nothing. */
interface Post {
  /** The tasks whose messages wait, or are in the hands of an embedded broker's worker. */
  ids(): Promise<string[]>
  isEmpty(): Promise<boolean>
}

/** Where a case happens. `await using` removes it. */
interface Site extends AsyncDisposable {
  readonly place: Place
  postOf(program: Program): Post
  /** Resolves when a program that was killed holds nothing any more but what a lease keeps for it. */
  released(): Promise<unknown>
}

async function migrate(url: string, watched: boolean): Promise<void> {
  const database = await Database.open(url, 'create')
  await migrateTo(database)
  if (watched) await watchFinalRows(database)
  await database.close()
}

async function openSite({ engine, fault }: Case, rabbit: Rabbit | null): Promise<Site> {
  const folder = mkdtempSync(join(tmpdir(), 'taskledger-test-'))
  const { url: ledger, remove } = await engine.ledger.make(folder)
  await migrate(ledger, true)
  const place = { ledger, messages: null, file: join(folder, 'side-effects') }
  const gone = async () => {
    await remove()
    rmSync(folder, { recursive: true, force: true })
  }
  if (engine.broker === 'RabbitMQ' && rabbit) {
    // what a stopped program holds, RabbitMQ keeps until its heartbeats are missed
    const messages = fault === 'stop' ? `${RABBITMQ}?heartbeat=1` : RABBITMQ
    return siteOnRabbit({ ...place, messages }, rabbit, gone)
  }
  const messages = engine.broker === 'outside' ? `sqlite:${join(folder, 'messages.db')}` : null
  if (messages) await migrate(messages, false)
  const ids = async ({ messages }: Program) =>
    (await messages.all<{ task_id: string }>('SELECT task_id FROM task_message ORDER BY task_id', [])).map((row) => row.task_id)
  return {
    place: { ...place, messages },
    postOf: (program) => ({ ids: () => ids(program), isEmpty: async () => (await ids(program)).length === 0 }),
    released: async () => {},
    [Symbol.asyncDispose]: gone,
  }
}

function siteOnRabbit(place: Place, rabbit: Rabbit, gone: () => Promise<void>): Site {
  const name = newTaskId(Date.now())
  return {
    place: { ...place, queue: rabbit.queue(name) },
    postOf: () => ({ ids: () => rabbit.look(name), isEmpty: async () => (await rabbit.count(name))?.ready === 0 }),
    // a worker's messages go back to their queue when the server takes its consumer off it
    released: () => until(async () => (await rabbit.count(name))?.consumers === 0, 'the server to notice that the program has gone'),
    [Symbol.asyncDispose]: gone,
  }
}

/** One body that ran. */
interface Run {
  readonly id: string
  readonly retries: number
  readonly at: number
}

/** The programs that come after: a sender with the lease of the one that was interrupted, and a worker with a long one. */
class Successors implements AsyncDisposable {
  private constructor(
    private readonly place: Place,
    private readonly post: Post,
    private readonly sending: Program,
    private readonly working: Program,
    /** What they reported to nobody in particular. */
    readonly errors: readonly unknown[],
  ) {}

  static async open({ place, postOf }: Site): Promise<Successors> {
    const errors: unknown[] = []
    const report = (error: unknown) => errors.push(error)
    const sending = await openProgram(place, LEASE, report)
    return new Successors(place, postOf(sending), sending, await openProgram(place, WORKER_LEASE, report), errors)
  }

  get app(): App {
    return this.sending.app
  }

  /** Works and sends until every task has ended or is listed as lost, and no message is left. */
  async drain(): Promise<void> {
    await until(async () => {
      await this.work()
      return (await this.messages()).length === 0 // with RabbitMQ some may have been in the worker's hands
    }, 'no message to be left')
  }

  private async work(): Promise<void> {
    const queues = this.place.queue ? [this.place.queue] : ['default', 'of nobody']
    await using _ = working(this.working.app, { sender: false, concurrency: 4, queues })
    await until(async () => {
      await this.app.tasks.sendScheduled()
      return this.settled()
    }, 'every task to end or to be listed')
  }

  private async settled(): Promise<boolean> {
    const open = await this.rows('SELECT 1 FROM task_result WHERE finished_at IS NULL')
    const listed = await this.app.tasks.findStale({ reasons: ['lost'] })
    const lost = listed.filter(({ options }) => options.onWorkerLost === undefined) // the others are somebody's to rescue
    return open.length === lost.length && (await this.post.isEmpty())
  }

  async rows<Row>(text: string): Promise<Row[]> {
    return (await this.app.database()).all<Row>(text, [])
  }

  messages(): Promise<string[]> {
    return this.post.ids()
  }

  runs(): Run[] {
    return linesIn(this.place.file)
      .map((line) => line.split(' '))
      .map(([id = '', retries, at]) => ({ id, retries: Number(retries), at: Number(at) }))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.app.close()
    await this.working.app.close()
  }
}

/** The row of the task, or of the task that was sent in its place. */
async function subject(app: App, id: string): Promise<TaskRow | null> {
  const row = await app.tasks.get(id)
  return row?.status === 'SCHEDULED_SENT' && row.scheduledId ? app.tasks.get(row.scheduledId) : row
}

/** What an operator finds when everything has been silent for a lease; of a task that has ended, what is found of the one after it. */
async function look(after: Successors, one: Case, id: string): Promise<Pick<Line, 'left' | 'found'>> {
  const own = await lookAt(after, id, isAckDoubtful(one))
  if (!(await after.app.tasks.get(nextOf(id)))) return own
  const next = await lookAt(after, nextOf(id))
  return { left: `${own.left}; the next ${next.left}`, found: own.found === 'it has ended' ? next.found : own.found }
}

/** Whether the program has said to RabbitMQ that it has the message, and died before anybody can know whether that was heard. */
function isAckDoubtful({ engine, point, kind }: Case): boolean {
  if (engine.broker !== 'RabbitMQ') return false
  const begun = /^(body|finish|retry|follow):/.test(point)
  return point === 'ack:after' || (begun && ['early', 'chord', 'erring', 'retrying'].includes(kind))
}

function messageCell(copies: number): string {
  if (copies === 0) return ''
  return copies === 1 ? ', its message with the broker' : `, ${copies} messages with the broker`
}

async function lookAt(after: Successors, id: string, doubtful = false): Promise<Pick<Line, 'left' | 'found'>> {
  const row = await subject(after.app, id)
  const sent = row !== null && row.taskId !== id ? 'sent as a task that is ' : ''
  const copies = (await after.messages()).filter((taskId) => taskId === (row?.taskId ?? id)).length
  const message = doubtful ? ', its message perhaps with the broker' : messageCell(copies)
  const found = [
    ...(await after.app.tasks.findStale()).map((stale) => ({ ...stale, by: 'find-stale-tasks' })),
    ...(await after.app.tasks.findStaleScheduled()).map((stale) => ({ ...stale, by: 'find-stale-scheduled' })),
  ].filter(({ taskId }) => taskId === row?.taskId)
  const none = row === null ? 'nothing to find' : 'it has ended'
  return {
    left: row === null ? `no row${message}` : `${sent}${row.status}${message}`,
    found: found.map(({ by, reason }) => `\`${by}\`: ${reason}`).join(', ') || none,
  }
}

/** With the embedded broker an open row has a message exactly while one is to come of it, and no other row has one. */
async function inconsistencies(after: Successors): Promise<string[]> {
  const rows = await after.rows<{ task_id: string; status: string; published: number; options: string; messages: number }>(
    `SELECT task_id, status, published_at IS NOT NULL AS published, options,
            (SELECT count(*) FROM task_message AS m WHERE m.task_id = r.task_id) AS messages
       FROM task_result AS r`,
  )
  const wrong = rows.filter(({ status, published, options, messages }) => {
    const waits = status !== 'STARTED' || JSON.parse(options).acksLate === true
    return messages !== (!isFinal(status) && published === 1 && waits ? 1 : 0)
  })
  const strays = (await after.messages()).filter((id) => !rows.some((row) => row.task_id === id))
  return [...wrong.map(({ task_id, status, messages }) => `${task_id} is ${status} with ${messages} messages`), ...strays]
}

/** What must hold at the end of every case, whatever was interrupted. */
async function violations(after: Successors, { point, kind }: Case, id: string): Promise<string[]> {
  const found: string[] = after.errors.map((error) => `reported: ${error}`)
  const all = await after.rows<{ task_id: string; task: string; status: string; eta: number | null; scheduled_id: string | null }>(
    'SELECT task_id, task, status, eta, scheduled_id FROM task_result',
  )
  const rows = all.filter(({ task_id }) => ![nextOf(id), errbackOf(id)].includes(task_id))
  found.push(...(await wrongFollowers(after, kind, id)))
  const changed = await after.rows<{ task_id: string }>('SELECT task_id FROM changed_after_end')
  for (const { task_id } of changed) found.push(`${task_id} changed after its end`)
  const others = kind === 'scheduled' ? 3 : 2
  const accepted = others + (point === 'publish:before' && !rows.some((row) => row.task_id === id) ? 0 : 1)
  const sent = rows.filter(({ status }) => status === 'SCHEDULED_SENT').length
  if (kind !== 'finished' && rows.length !== accepted + sent) found.push(`${accepted} tasks were accepted, ${rows.length} rows are there`)
  const runs = after.runs()
  for (const row of rows) found.push(...wrongRuns(row, runs))
  for (const { task_id, scheduled_id, eta } of rows) {
    if (runs.some((run) => run.id === scheduled_id && run.at < (eta ?? 0))) found.push(`${task_id} was sent before its eta`)
  }
  return found
}

/** How what is to follow a task has to end, and how often it has to have run, when the task itself is `status`. */
function expectedNext(kind: Kind, status: string | undefined): string {
  if (status === undefined || !isFinal(status)) return 'none 0'
  if (kind === 'waiting') return 'FAILURE 0'
  return status === 'SUCCESS' || kind === 'erring' ? 'SUCCESS 1' : `${status} 0`
}

/** Whether what was to follow the task has ended as it had to: once, and only because the task had ended. */
async function wrongFollowers(after: Successors, kind: Kind, id: string): Promise<string[]> {
  if (!workflowOf(kind, id)) return []
  const ended = async (taskId: string) => {
    const row = await after.app.tasks.get(taskId)
    return `${row?.status ?? 'none'} ${after.runs().filter((run) => run.id === taskId).length}`
  }
  const status = (await after.app.tasks.get(id))?.status
  const counted = status !== undefined && isFinal(status)
  const expected = [expectedNext(kind, status), kind === 'waiting' ? 'SUCCESS 1' : 'none 0']
  const found = [await ended(nextOf(id)), await ended(errbackOf(id))]
  const wrong = expected.filter((end, i) => end !== found[i]).map((end) => `followed by ${found}, not by ${end}`)
  const groups = await after.rows<{ remaining: number; failed: number }>('SELECT remaining, failed FROM task_group')
  const miscounted = groups.filter(({ remaining, failed }) => counted && (remaining !== 0 || failed !== (status === 'SUCCESS' ? 0 : 1)))
  return [...wrong, ...miscounted.map(({ remaining, failed }) => `of the group ${remaining} remain and ${failed} failed`)]
}

/** Whether the bodies that ran are those that the row tells of. */
function wrongRuns({ task_id, task, status }: { task_id: string; task: string; status: string }, runs: readonly Run[]): string[] {
  const count = runs.filter(({ id }) => id === task_id).length
  const perTry = [0, 1].map((retries) => runs.filter((run) => run.id === task_id && run.retries === retries).length)
  const late = task === 'late' || task === 'held'
  if (late) return status === 'SUCCESS' && count >= 1 ? [] : [`late-ack ${task_id} ended ${status} and ran ${count} times`]
  const wrong = perTry.some((times) => times > 1) ? [`early-ack ${task_id} ran ${count} times`] : []
  if (status === 'SUCCESS' && count === 0) wrong.push(`${task_id} succeeded without having run`)
  if (['REVOKED', 'SCHEDULED_SENT'].includes(status) && count > 0) wrong.push(`${task_id} is ${status} and ran`)
  return wrong
}

async function afterwards(after: Successors, id: string): Promise<string> {
  const row = await subject(after.app, id)
  const times = after.runs().filter((run) => run.id === (row?.taskId ?? id)).length
  const ran = times === 0 ? 'did not run' : times === 1 ? 'ran once' : times === 2 ? 'ran twice' : `ran ${times} times`
  if (row === null) return times === 0 ? 'nothing' : `deleted; ${ran}`
  const next = await after.app.tasks.get(nextOf(id))
  return `${isFinal(row.status) ? row.status : `${row.status}, still listed`}; ${ran}${next ? `; the next ${next.status}` : ''}`
}

/** Interrupts one program, lets others come after it, and tells what there was to see. */
async function interrupt(program: string, one: Case, rabbit: Rabbit | null): Promise<Line> {
  await using site = await openSite(one, rabbit)
  await using processes = new Processes()
  const id = newTaskId(Date.now())
  const { engine, point, fault, kind } = one
  const job: Job = { ...site.place, point, fault, kind, work: workOf(point, kind), id }
  const interrupted = processes.program(program, [JSON.stringify(job)])
  if (fault === 'stop') await interrupted.said('reached')
  else assert.deepEqual(await interrupted.end(), { code: fault === 'kill' ? null : 0, signal: fault === 'kill' ? 'SIGKILL' : null })
  await sleep(LEASE * (fault === 'stop' ? 2000 : 1100)) // what a lease holds is free once it has run out
  if (fault !== 'stop') await site.released()

  await using after = await Successors.open(site)
  const seen = await look(after, one, id)
  const problems = engine.broker === 'embedded' ? await inconsistencies(after) : []
  if (fault === 'throw')
    problems.push(...(await after.rows<object>('SELECT * FROM task_worker')).map(() => 'a worker that stopped is listed'))
  await after.drain()
  if (fault === 'stop') {
    interrupted.signal('SIGCONT')
    assert.deepEqual(await interrupted.end(), { code: 0, signal: null }, interrupted.stderr.join('\n'))
    await after.drain()
  }
  problems.push(...(await violations(after, one, id)))
  return { ...seen, after: await afterwards(after, id), problems }
}

/** The fixture as one file, because reading hundreds of small ones is most of what a case would take. */
async function bundled(folder: string): Promise<string> {
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'), 'junction')
  const outfile = join(folder, 'interrupted.mjs')
  await build({
    entryPoints: [join(ROOT, 'test', 'fixtures', 'interrupted.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    packages: 'external',
    logLevel: 'error',
  })
  return outfile
}

/** @param atOnce cases at one time; most of a case is waiting for a lease to run out */
export async function interruptAll(cases: readonly Case[], atOnce: number): Promise<Map<string, Line | Error>> {
  const folder = mkdtempSync(join(tmpdir(), 'taskledger-test-'))
  const rabbit = cases.some(({ engine }) => engine.broker === 'RabbitMQ') ? await openRabbit() : null
  try {
    const program = await bundled(folder)
    const lines = new Map<string, Line | Error>()
    const waiting = [...cases]
    const next = async () => {
      for (let one = waiting.shift(); one; one = waiting.shift()) {
        lines.set(shown(one), await interrupt(program, one, rabbit).catch((error: Error) => error))
      }
    }
    await Promise.all(Array.from({ length: atOnce }, next))
    return lines
  } finally {
    await rabbit?.[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true, force: true })
  }
}

export function problemsOf(line: Line | Error | undefined): readonly string[] {
  if (line === undefined || line instanceof Error) return [String(line?.stack ?? 'not run')]
  return line.problems
}
