import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { build } from 'esbuild'
import type { App } from '../../src/lib/app/app.js'
import { Database } from '../../src/lib/database/database.js'
import { migrateTo } from '../../src/lib/database/migrate.js'
import type { TaskRow } from '../../src/lib/ledger/row.js'
import { FAILPOINTS, type FailpointName } from '../../src/lib/task/failpoint.js'
import { newTaskId } from '../../src/lib/task/id.js'
import { isFinal } from '../../src/lib/task/status.js'
import {
  errbackOf,
  FAULTS,
  type Fault,
  type Job,
  type Kind,
  LEASE,
  nextOf,
  openProgram,
  type Place,
  type Program,
  type Work,
  workflowOf,
} from '../helpers/interrupted.js'
import { Processes } from '../helpers/processes.js'
import { ROOT } from '../helpers/run.js'
import { until } from '../helpers/until.js'
import { working } from '../helpers/working.js'

const BROKERS = ['embedded', 'outside'] as const
type BrokerName = (typeof BROKERS)[number]

/** Those of results for Celery's clients need a store outside: celery-results.test.ts interrupts a program at them. */
type OwnPoint = Exclude<FailpointName, `result:${string}`>
const POINTS = FAILPOINTS.filter((point): point is OwnPoint => !point.startsWith('result:'))

/** The tasks each failpoint is reached with, and by what work. A failpoint that is not here does not compile. */
const MATRIX: Record<OwnPoint, Partial<Record<BrokerName, readonly Kind[]>>> = {
  'publish:before': { embedded: ['early', 'chained'], outside: ['early', 'chained'] },
  'publish:recorded': { embedded: ['early', 'scheduled', 'chained'], outside: ['early', 'scheduled', 'chained'] },
  'send:before': { embedded: ['retrying'], outside: ['early', 'retrying', 'scheduled'] },
  'send:handed': { outside: ['early', 'retrying', 'scheduled', 'chained'] },
  'send:marked': { embedded: ['retrying'], outside: ['early', 'retrying', 'scheduled'] },
  'follow:recorded': { outside: ['chained', 'chord', 'erring'] },
  'claim:before': { embedded: ['early', 'late'], outside: ['early', 'late'] },
  'claim:received': { embedded: ['early', 'late'], outside: ['early', 'late'] },
  'start:before': { embedded: ['early', 'late'], outside: ['early', 'late'] },
  'start:committed': { embedded: ['early', 'late'], outside: ['early', 'late'] },
  'body:before': { embedded: ['early', 'late'], outside: ['early', 'late'] },
  'body:after': { embedded: ['early', 'late'], outside: ['early', 'late'] },
  'finish:before': { embedded: ['early', 'late', 'chained', 'chord', 'erring'], outside: ['early', 'late', 'chained', 'chord', 'erring'] },
  'finish:committed': {
    embedded: ['early', 'late', 'chained', 'chord', 'erring'],
    outside: ['early', 'late', 'chained', 'chord', 'erring'],
  },
  'retry:before': { embedded: ['retrying'], outside: ['retrying'] },
  'retry:committed': { embedded: ['retrying'], outside: ['retrying'] },
  'refuse:before': { embedded: ['expired'], outside: ['expired'] },
  'refuse:committed': { embedded: ['expired'], outside: ['expired'] },
  'return:before': { embedded: ['held'], outside: ['held'] },
  'return:committed': { embedded: ['held'], outside: ['held'] },
  'ack:before': { outside: ['early', 'late', 'expired', 'chained'] },
  'ack:after': { outside: ['early', 'late', 'expired'] },
  'sender:before': { embedded: ['scheduled'], outside: ['scheduled'] },
  'sender:claimed': { outside: ['scheduled'] },
  'sender:recorded': { embedded: ['scheduled'], outside: ['scheduled'] },
  'sweep:before': { embedded: ['waiting'], outside: ['waiting'] },
  'sweep:committed': { embedded: ['waiting'], outside: ['waiting'] },
  'rescue:before': { embedded: ['lost'], outside: ['lost'] },
  'rescue:committed': { embedded: ['lost'], outside: ['lost'] },
  'revoke:before': { embedded: ['revoked'], outside: ['revoked'] },
  'revoke:committed': { embedded: ['revoked'], outside: ['revoked'] },
  'purge:before': { embedded: ['finished'] },
  'purge:committed': { embedded: ['finished'] },
}

function workOf(point: FailpointName, kind: Kind): Work {
  if (point.startsWith('publish:')) return 'publish'
  if (point.startsWith('send:') && kind !== 'chained') return kind === 'early' ? 'publish' : 'send'
  if (point.startsWith('sender:') || point.startsWith('sweep:')) return 'send'
  if (kind === 'held') return 'stop'
  if (kind === 'revoked') return 'revoke'
  return kind === 'finished' ? 'purge' : 'work'
}

interface Case {
  readonly broker: BrokerName
  readonly point: FailpointName
  readonly kind: Kind
  readonly fault: Fault
}

/** What one case shows. */
interface Line {
  readonly left: string
  readonly found: string
  readonly after: string
  /** What must not be. */
  readonly problems: readonly string[]
}

const CASES: readonly Case[] = BROKERS.flatMap((broker) =>
  POINTS.flatMap((point) => (MATRIX[point][broker] ?? []).flatMap((kind) => FAULTS.map((fault): Case => ({ broker, point, kind, fault })))),
)

/** Seconds: longer than a busy machine keeps a process waiting. */
const WORKER_LEASE = 3

/** Cases at one time; most of a case is waiting for a lease to run out. */
const AT_ONCE = 10

const shown = ({ broker, point, kind, fault }: Case): string => `${broker} ${point} ${kind} ${fault}`

/** Notes what must never happen, whoever does it: a finished row that changes. */
const WATCH = [
  'CREATE TABLE changed_after_end (task_id TEXT)',
  `CREATE TRIGGER watch AFTER UPDATE ON task_result WHEN OLD.finished_at IS NOT NULL
     BEGIN INSERT INTO changed_after_end VALUES (OLD.task_id); END`,
]

async function makePlace(folder: string, broker: BrokerName): Promise<Place> {
  const urls = ['ledger.db', 'messages.db'].map((name) => `sqlite:${join(folder, name)}`)
  const [ledger = '', messages = ''] = urls
  for (const url of broker === 'embedded' ? [ledger] : urls) {
    const database = await Database.open(url, 'create')
    await migrateTo(database)
    if (url === ledger) for (const text of WATCH) await database.run(text, [])
    await database.close()
  }
  return { ledger, messages: broker === 'embedded' ? null : messages, file: join(folder, 'side-effects') }
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
    private readonly sending: Program,
    private readonly working: Program,
    /** What they reported to nobody in particular. */
    readonly errors: readonly unknown[],
  ) {}

  static async open(place: Place): Promise<Successors> {
    const errors: unknown[] = []
    const report = (error: unknown) => errors.push(error)
    return new Successors(place, await openProgram(place, LEASE, report), await openProgram(place, WORKER_LEASE, report), errors)
  }

  get app(): App {
    return this.sending.app
  }

  /** Works and sends until every task has ended or is listed as lost, and no message is left. */
  async drain(): Promise<void> {
    await using _ = working(this.working.app, { sender: false, concurrency: 4, queues: ['default', 'of nobody'] })
    await until(async () => {
      await this.app.tasks.sendScheduled()
      return this.settled()
    }, 'every task to end or to be listed')
  }

  private async settled(): Promise<boolean> {
    const open = await this.rows('SELECT 1 FROM task_result WHERE finished_at IS NULL')
    const listed = await this.app.tasks.findStale({ reasons: ['lost'] })
    const lost = listed.filter(({ options }) => options.onWorkerLost === undefined) // the others are somebody's to rescue
    return open.length === lost.length && (await this.messages()).length === 0
  }

  async rows<Row>(text: string): Promise<Row[]> {
    return (await this.app.database()).all<Row>(text, [])
  }

  /** The tasks whose message waits or is in somebody's hands. */
  async messages(): Promise<string[]> {
    const rows = await this.sending.messages.all<{ task_id: string }>('SELECT task_id FROM task_message ORDER BY task_id', [])
    return rows.map((row) => row.task_id)
  }

  runs(): Run[] {
    if (!existsSync(this.place.file)) return []
    const lines = readFileSync(this.place.file, 'utf8').trim().split('\n')
    return lines.map((line) => line.split(' ')).map(([id = '', retries, at]) => ({ id, retries: Number(retries), at: Number(at) }))
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
async function look(after: Successors, id: string): Promise<Pick<Line, 'left' | 'found'>> {
  const own = await lookAt(after, id)
  if (!(await after.app.tasks.get(nextOf(id)))) return own
  const next = await lookAt(after, nextOf(id))
  return { left: `${own.left}; the next ${next.left}`, found: own.found === 'it has ended' ? next.found : own.found }
}

async function lookAt(after: Successors, id: string): Promise<Pick<Line, 'left' | 'found'>> {
  const row = await subject(after.app, id)
  const sent = row !== null && row.taskId !== id ? 'sent as a task that is ' : ''
  const copies = (await after.messages()).filter((taskId) => taskId === (row?.taskId ?? id)).length
  const message = copies === 0 ? '' : copies === 1 ? ', its message with the broker' : `, ${copies} messages with the broker`
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
  const rows = await after.rows<{ task_id: string; status: string; published: number; late: number; messages: number }>(
    `SELECT task_id, status, published_at IS NOT NULL AS published, coalesce(json_extract(options, '$.acksLate'), 0) AS late,
            (SELECT count(*) FROM task_message AS m WHERE m.task_id = r.task_id) AS messages
       FROM task_result AS r`,
  )
  const wrong = rows.filter(({ status, published, late, messages }) => {
    const expected = !isFinal(status) && published === 1 && (status !== 'STARTED' || late === 1) ? 1 : 0
    return messages !== expected
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
async function interrupt(program: string, one: Case): Promise<Line> {
  const folder = mkdtempSync(join(tmpdir(), 'taskledger-test-'))
  try {
    await using processes = new Processes()
    const place = await makePlace(folder, one.broker)
    const id = newTaskId(Date.now())
    const { point, fault, kind } = one
    const job: Job = { ...place, point, fault, kind, work: workOf(point, kind), id }
    const interrupted = processes.program(program, [JSON.stringify(job)])
    if (fault === 'stop') await interrupted.said('reached')
    else assert.deepEqual(await interrupted.end(), { code: fault === 'kill' ? null : 0, signal: fault === 'kill' ? 'SIGKILL' : null })
    await sleep(LEASE * (fault === 'stop' ? 2000 : 1100)) // what a lease holds is free once it has run out

    await using after = await Successors.open(place)
    const seen = await look(after, id)
    const problems = one.broker === 'embedded' ? await inconsistencies(after) : []
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
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
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
  })
  return outfile
}

async function interruptAll(): Promise<Map<string, Line | Error>> {
  const folder = mkdtempSync(join(tmpdir(), 'taskledger-test-'))
  try {
    const program = await bundled(folder)
    const lines = new Map<string, Line | Error>()
    const waiting = [...CASES]
    const next = async () => {
      for (let one = waiting.shift(); one; one = waiting.shift()) {
        lines.set(shown(one), await interrupt(program, one).catch((error: Error) => error))
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, next))
    return lines
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const PAGE = join(ROOT, 'docs', 'delivery-guarantees.md')
const [BEGIN, END] = ['<!-- written by `npm run guarantees` -->', '<!-- end -->']

const TASKS: Record<Kind, string> = {
  early: 'early ack',
  late: 'late ack',
  retrying: 'to be retried',
  scheduled: 'scheduled',
  expired: 'expired',
  held: 'late ack',
  lost: 'lost before',
  revoked: 'to be revoked',
  finished: 'finished',
  chained: 'late ack, in a chain',
  chord: 'last of a chord',
  erring: 'with an errback',
  waiting: 'in a chord, silent',
}

/** One line for all faults that show the same. */
function tableOf(broker: BrokerName, lines: ReadonlyMap<string, Line | Error>): string[] {
  const merged = new Map<string, { cells: string[]; faults: Fault[] }>()
  for (const one of CASES.filter((c) => c.broker === broker)) {
    const line = lines.get(shown(one))
    if (!line || line instanceof Error) continue
    const cells = [`\`${one.point}\``, TASKS[one.kind], line.left, line.found, line.after]
    const entry = merged.get(cells.join('|')) ?? { cells, faults: [] }
    merged.set(cells.join('|'), { cells, faults: [...entry.faults, one.fault] })
  }
  const head = ['failpoint', 'task', 'fault', 'left behind', 'found by', 'in the end']
  const rows = [...merged.values()].map(({ cells: [point = '', task = '', ...rest], faults }) => [point, task, faults.join(', '), ...rest])
  const widths = head.map((_, i) => Math.max(...[head, ...rows].map((row) => row[i]?.length ?? 0)))
  const text = (row: readonly string[]) => `| ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' | ')} |`
  return [text(head), `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`, ...rows.map(text)]
}

function pageWith(lines: ReadonlyMap<string, Line | Error>): string {
  const tables = BROKERS.flatMap((broker) => [
    `### ${broker === 'embedded' ? 'The embedded broker' : 'An outside broker'}`,
    '',
    ...tableOf(broker, lines),
    '',
  ])
  const page = readFileSync(PAGE, 'utf8')
  return `${page.slice(0, page.indexOf(BEGIN) + BEGIN.length)}\n\n${tables.join('\n')}\n${page.slice(page.indexOf(END))}`
}

const onPosix = process.platform === 'win32' ? describe.skip : describe // elsewhere nobody can stop a process and let it go on

onPosix('a program interrupted at every failpoint', function () {
  this.timeout(600_000)
  let lines: Map<string, Line | Error>

  before(async () => {
    lines = await interruptAll()
  })

  it('is tried at each of them', () => {
    assert.deepEqual([...new Set(CASES.map(({ point }) => point))].sort(), [...POINTS].sort())
  })

  for (const broker of BROKERS) {
    for (const point of POINTS) {
      const cases = CASES.filter((one) => one.broker === broker && one.point === point)
      if (cases.length === 0) continue
      it(`loses nothing at ${point}, on ${broker === 'embedded' ? 'the embedded' : 'an outside'} broker`, () => {
        const wrong = cases.map((one) => [shown(one), problemsOf(lines.get(shown(one)))] as const).filter(([, found]) => found.length > 0)
        assert.deepEqual(Object.fromEntries(wrong), {})
      })
    }
  }

  it('leaves behind what the page on delivery guarantees says', () => {
    const page = pageWith(lines)
    if (process.env['npm_lifecycle_event'] === 'guarantees') writeFileSync(PAGE, page)
    assert.equal(readFileSync(PAGE, 'utf8'), page, 'run `npm run guarantees`, and read what has changed')
  })
})

function problemsOf(line: Line | Error | undefined): readonly string[] {
  if (line === undefined || line instanceof Error) return [String(line?.stack ?? 'not run')]
  return line.problems
}
