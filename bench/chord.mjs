// What a member of a chord costs, from its publish to the end of the body, beside a plain task published in groups of as many.
import { chord, createApp } from '../dist/index.js'
import { migratedFile, openRaw, withFolder } from './lib/ledger.mjs'
import { atLeast, pairs, report } from './lib/pairs.mjs'

const ROUNDS = 5
const MEMBERS = 10_000
const CONCURRENCY = 100

const range = Array.from({ length: MEMBERS }, (_, i) => i)

/** Tasks a second, from the first publish until `send`'s work has ended. */
async function rate(file, send) {
  const app = createApp({ database: `sqlite:${file}`, concurrency: CONCURRENCY })
  const same = app.task('same', (n) => n)
  const count = app.task('count', (all) => all.length)
  await app.tasks.count() // opens the ledger
  const worker = app.worker()
  const from = performance.now()
  const running = worker.run()
  await send(app, same, count)
  const seconds = (performance.now() - from) / 1000
  worker.stop()
  await running
  await app.close()
  return MEMBERS / seconds
}

async function asChord(_app, same, count) {
  const result = await chord(
    range.map((n) => same.s(n)),
    count.s(),
  ).applyAsync()
  if ((await result.get()) !== MEMBERS) throw new Error('the body did not get every result')
}

async function asTasks(app, same) {
  let left = MEMBERS
  const allDone = new Promise((resolve) => {
    app.on('succeeded', () => --left === 0 && resolve())
  })
  await Promise.all(range.map((n) => same.delay(n)))
  await allDone
}

/** Bytes of the largest message that a chord of so many members leaves in the queue. */
async function largestMessage(folder, members) {
  const file = await migratedFile(folder, `messages-${members}.db`)
  const app = createApp({ database: `sqlite:${file}` })
  const same = app.task('same', (n) => n)
  const count = app.task('count', (all) => all.length)
  await chord(
    range.slice(0, members).map((n) => same.s(n)),
    count.s(),
  ).applyAsync()
  await app.close()
  const db = openRaw(file)
  const { bytes } = db.prepare('SELECT max(length(body)) AS bytes FROM task_message').get()
  db.close()
  return bytes
}

await withFolder(async (folder) => {
  const measured = await pairs(
    ROUNDS,
    async (round) => rate(await migratedFile(folder, `chord-${round}.db`), asChord),
    async (round) => rate(await migratedFile(folder, `plain-${round}.db`), asTasks),
  )
  const [large, small] = [await largestMessage(folder, MEMBERS), await largestMessage(folder, 10)]
  report([
    atLeast('member of a chord of 10,000 (raw: a plain task)', '/s', measured, 0.5),
    {
      name: 'its message (raw: in a chord of 10)',
      unit: 'bytes',
      ours: large,
      raw: small,
      ratio: large / small,
      target: '<= 1.1',
      ok: large <= small * 1.1,
    },
  ])
})
