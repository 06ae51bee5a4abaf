import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import type { FailpointName } from '../../src/lib/task/failpoint.js'
import { postgresSuite } from '../helpers/postgres.js'
import { needs } from '../helpers/services.js'
import { inFull } from '../helpers/suites.js'
import { type Case, casesOf, EMBEDDED, type Engine, ON_POSTGRES, RABBIT, RABBIT_ON_POSTGRES, shown } from './cases.js'
import { interruptAll, type Line, problemsOf } from './interruption.js'
import { cellsOf, PAGE, pageWith, rowsOf, type Shown, table, tableOf } from './page.js'

/** Where it matters what the ledger and its messages are in. */
const POINTS: readonly FailpointName[] = [
  'publish:recorded',
  'send:before',
  'send:handed',
  'send:marked',
  'follow:recorded',
  'claim:received',
  'start:before',
  'start:committed',
  'finish:before',
  'finish:committed',
  'retry:before',
  'retry:committed',
  'ack:before',
  'ack:after',
  'sender:before',
  'sender:claimed',
  'sender:recorded',
  'revoke:before',
  'revoke:committed',
]

/** RabbitMQ itself drops a message that has expired, so no worker gets it. */
const isTried = ({ point, kind, fault }: Case): boolean => fault === 'kill' && POINTS.includes(point) && kind !== 'expired'

const CASES = new Map<Engine, readonly Case[]>(
  [ON_POSTGRES, RABBIT, RABBIT_ON_POSTGRES].map((engine) => [engine, casesOf(engine).filter(isTried)]),
)

/** All other cases, where there is the time for them. */
const OTHERS = inFull([...CASES.keys()]).flatMap((engine) =>
  casesOf(engine).filter((one) => !isTried(one) && (one.kind !== 'expired' || engine.broker !== 'RabbitMQ')),
)

const early = ({ task }: Shown): boolean => !task.startsWith('late ack') && task !== 'to be retried' // whose two runs are its two tries

/** What a crash may lead to, and how it is told from a line of the tables. */
const MAY_HAPPEN: readonly (readonly [what: string, told: (shown: Shown) => boolean])[] = [
  ['a task is recorded and its message is not sent: a sender sends it', ({ found }) => found.endsWith('unpublished')],
  [
    'its message is sent and not known to be: it comes twice, and runs once',
    ({ left, found }) => /(PENDING|RETRY), its message with the broker$/.test(left) && /(unpublished|overdue)$/.test(found),
  ],
  [
    'a task has ended, and its message comes again: whoever gets it lets it go',
    ({ left }) => /^(SUCCESS|FAILURE|REVOKED), its message/.test(left),
  ],
  ['a sender has claimed a scheduled task and not sent it: a later one sends it', ({ found }) => found.endsWith(': claimed')],
  ['early ack: listed as `lost`, its body has not run', (line) => early(line) && line.after.includes('still listed; did not run')],
  ['early ack: listed as `lost`, its body has run', (line) => early(line) && line.after.includes('still listed; ran once')],
  ['early ack: its body runs twice', (line) => early(line) && line.after.includes('ran twice')],
  ['late ack: its body runs twice', ({ task, after }) => task.startsWith('late ack') && after.includes('ran twice')],
  ['late ack: it does not end', ({ task, after }) => task.startsWith('late ack') && after.includes('still listed')],
]

type Lines = ReadonlyMap<string, Line | Error>

const shownBy = (engine: Engine, lines: Lines): Shown[] =>
  (CASES.get(engine) ?? []).flatMap((one) => cellsOf(one, lines.get(shown(one))) ?? [])

/** What the page tells of the same failpoints with the embedded broker in SQLite. */
const shownInSqlite = (): Shown[] =>
  rowsOf(EMBEDDED).filter(({ point, faults }) => faults.includes('kill') && POINTS.some((tried) => `\`${tried}\`` === point))

function mayHappen(lines: Lines): string[] {
  const columns = [shownInSqlite(), shownBy(ON_POSTGRES, lines), shownBy(RABBIT, lines)]
  const head = ['', 'embedded, in SQLite', 'embedded, in PostgreSQL', 'RabbitMQ, over either']
  const rows = MAY_HAPPEN.map(([what, told]) => [
    what,
    ...columns.map((column) => [...new Set(column.filter(told).map(({ point }) => point))].join(', ') || 'never'),
  ])
  return table(head, rows)
}

postgresSuite(() => {
  describe('a program killed where its engines matter', function () {
    this.timeout(300_000)
    const lines = new Map<string, Line | Error>()

    before(async function () {
      await needs(this, 'RabbitMQ')
      for (const [what, line] of await interruptAll([...CASES.values()].flat(), 10)) lines.set(what, line)
    })

    for (const [engine, cases] of CASES) {
      for (const point of POINTS) {
        const here = cases.filter((one) => one.point === point)
        if (here.length === 0) continue
        it(`loses nothing at ${point}, on ${engine.name}`, () => {
          const wrong = here.map((one) => [shown(one), problemsOf(lines.get(shown(one)))] as const).filter(([, found]) => found.length > 0)
          assert.deepEqual(Object.fromEntries(wrong), {})
        })
      }
    }

    it('leaves behind in PostgreSQL what it leaves in SQLite', () => {
      const all = ({ point, task, left, found, after }: Shown) => [point, task, left, found, after].join(' | ')
      assert.deepEqual(shownBy(ON_POSTGRES, lines).map(all), shownInSqlite().map(all))
      assert.deepEqual(shownBy(RABBIT_ON_POSTGRES, lines).map(all), shownBy(RABBIT, lines).map(all))
    })

    for (const [what, mark, text] of [
      ['of RabbitMQ', '<!-- RabbitMQ, written by `npm run guarantees` -->', () => tableOf(CASES.get(RABBIT) ?? [], lines)],
      ['of each engine', '<!-- engines, written by `npm run guarantees` -->', () => mayHappen(lines)],
    ] as const) {
      it(`does what the page on delivery guarantees says ${what}`, () => {
        const page = pageWith(mark, [...text(), ''])
        if (process.env['npm_lifecycle_event'] === 'guarantees') writeFileSync(PAGE, page)
        assert.equal(readFileSync(PAGE, 'utf8'), page, 'run `npm run guarantees`, and read what has changed')
      })
    }
  })

  if (OTHERS.length > 0) {
    describe('a program interrupted at every failpoint, on every engine', function () {
      this.timeout(900_000)

      it('loses nothing', async function () {
        await needs(this, 'RabbitMQ')
        const lines = await interruptAll(OTHERS, 10)
        const wrong = OTHERS.map((one) => [shown(one), problemsOf(lines.get(shown(one)))] as const).filter(([, found]) => found.length > 0)
        assert.deepEqual(Object.fromEntries(wrong), {})
      })
    })
  }
})
